//! DS, the data store: labels that RS publishes, and numbers that services publish.
//!
//! On MINIX the numbers of a service go when RS takes its label away. Here they stay, so that a service which trusts them too far is
//! found out.

use heapless::{String, Vec};
use minix_abi::ds::{BLOCK_DRIVER_PREFIX, DRIVER_UP, DsFlags, DsReply, DsRequest, MAX_KEY_BYTES, MIN_KEY_BYTES};
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};

use crate::kernel::grants;
use crate::kernel::process::{Name, Slot};
use crate::kernel::state::Kernel;

/// Entries there can be.
const ENTRIES: usize = 64;

type Key = String<MAX_KEY_BYTES>;

#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    U32(u32),
    Label(Endpoint),
}

impl Value {
    fn is_of(self, kind: DsFlags) -> bool {
        match self {
            Value::U32(_) => kind == DsFlags::U32,
            Value::Label(_) => kind == DsFlags::LABEL,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Done,
    Value(u32),
    DriverUp,
}

#[derive(Debug, Default)]
pub(crate) struct Ds(Vec<Entry, ENTRIES>);

impl Ds {
    /// RS says which process has a label, if any.
    pub(super) fn set_label(&mut self, label: &Name, endpoint: Option<Endpoint>) {
        self.0
            .retain(|entry| !matches!(entry.value, Value::Label(_)) || entry.key != label[..]);
        if let (Some(endpoint), Ok(key)) = (endpoint, Key::try_from(&label[..])) {
            let entry = Entry {
                key,
                value: Value::Label(endpoint),
            };
            self.0.push(entry).expect("more labels than processes");
        }
    }

    fn label_of(&self, endpoint: Endpoint) -> Option<&Key> {
        self.0
            .iter()
            .find(|entry| entry.value == Value::Label(endpoint))
            .map(|entry| &entry.key)
    }

    fn find(&self, key: &str, kind: DsFlags) -> Option<usize> {
        self.0
            .iter()
            .position(|entry| entry.key == key && entry.value.is_of(kind))
    }

    /// The answer to a request, and whether it announces that a driver is up: VFS has subscribed to that.
    pub(super) fn serve(&mut self, kernel: &mut Kernel, caller: Slot, message: &Message) -> (Message, bool) {
        let mut answer = *message;
        let result = self.handle(kernel, caller, message);
        if let Ok(Answer::Value(value)) = result {
            answer.set_payload(&DsReply { value, value_bytes: 0 });
        }
        answer.kind = Status::from(result.map(drop)).into();
        (answer, matches!(result, Ok(Answer::DriverUp)))
    }

    fn handle(&mut self, kernel: &mut Kernel, caller: Slot, message: &Message) -> Result<Answer, Errno> {
        let request: DsRequest = message.payload();
        let endpoint = kernel.processes[caller].endpoint;
        let kind = request.flags & DsFlags::TYPE_MASK;
        match message.kind {
            MessageType::DS_PUBLISH => self.publish(kernel, caller, &request, kind),
            MessageType::DS_RETRIEVE => {
                let key = key_of(kernel, endpoint, &request)?;
                let index = self.find(&key, kind).ok_or(Errno::ESRCH)?;
                Ok(Answer::Value(match self.0[index].value {
                    Value::U32(number) => number,
                    Value::Label(endpoint) => endpoint.0 as u32,
                }))
            }
            MessageType::DS_RETRIEVE_LABEL => {
                let label = self.label_of(Endpoint(request.value as i32)).ok_or(Errno::ESRCH)?;
                let mut text = [0; MAX_KEY_BYTES];
                let bytes = label.len() + 1;
                // A key is shorter than that by its NUL at least.
                text[..bytes - 1].copy_from_slice(label.as_bytes());
                grants::write(kernel, Endpoint::DS, endpoint, request.key, &text[..bytes])?;
                Ok(Answer::Done)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn publish(
        &mut self,
        kernel: &mut Kernel,
        caller: Slot,
        request: &DsRequest,
        kind: DsFlags,
    ) -> Result<Answer, Errno> {
        let endpoint = kernel.processes[caller].endpoint;
        // Only RS publishes labels. Text and memory are not modelled.
        if kind == DsFlags::LABEL || self.label_of(endpoint).is_none() {
            return Err(Errno::EPERM);
        }
        let key = key_of(kernel, endpoint, request)?;
        if kind != DsFlags::U32 {
            return Err(Errno::EINVAL);
        }
        // What the key names does not matter to VFS, but which service has published it.
        let is_up = request.value == DRIVER_UP && key.starts_with(BLOCK_DRIVER_PREFIX);
        let found = self.find(&key, kind);
        let value = Value::U32(request.value);
        let entry = Entry { key, value };
        match found {
            None => self.0.push(entry).map_err(|_| Errno::ENOMEM)?,
            Some(_) if !request.flags.contains(DsFlags::OVERWRITE) => return Err(Errno::EEXIST),
            Some(index) => self.0[index] = entry,
        }
        Ok(if is_up { Answer::DriverUp } else { Answer::Done })
    }
}

/// The key of a request, out of the memory of the process.
fn key_of(kernel: &mut Kernel, granter: Endpoint, request: &DsRequest) -> Result<Key, Errno> {
    let bytes = usize::try_from(request.key_bytes).map_err(|_| Errno::EINVAL)?;
    if !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&bytes) {
        return Err(Errno::EINVAL);
    }
    let mut text = [0; MAX_KEY_BYTES];
    grants::read(kernel, Endpoint::DS, granter, request.key, &mut text[..bytes])?;
    text[bytes - 1] = 0;
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    Key::try_from(text).map_err(|_| Errno::EINVAL)
}
