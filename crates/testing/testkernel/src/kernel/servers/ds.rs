//! DS, the data store: labels that RS publishes, and numbers that services publish.
//!
//! On MINIX the numbers of a service go when RS takes its label away. Here they stay, to find services that trust them too
//! far.

use heapless::{LinearMap, String};
use minix_abi::ds::{BLOCK_DRIVER_PREFIX, DRIVER_UP, DsFlags, DsReply, DsRequest, MAX_KEY_BYTES, MIN_KEY_BYTES};
use minix_abi::grant::GrantFlags;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};

use crate::kernel::grants;
use crate::kernel::process::{MAX_PROCESSES, Slot};
use crate::kernel::state::Kernel;

/// Numbers there can be.
const NUMBERS: usize = 64;

type Key = String<MAX_KEY_BYTES>;

#[derive(Debug, Default)]
pub(crate) struct Ds {
    labels: LinearMap<Key, Endpoint, MAX_PROCESSES>,
    numbers: LinearMap<Key, u32, NUMBERS>,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Done,
    Value(u32),
    DriverUp,
}

impl Ds {
    /// RS says which process has a label, if any.
    pub(super) fn set_label(&mut self, label: &str, endpoint: Option<Endpoint>) {
        let key = Key::try_from(label).expect("labels are shorter than keys");
        match endpoint {
            Some(endpoint) => drop(self.labels.insert(key, endpoint).expect("more labels than processes")),
            None => drop(self.labels.remove(&key)),
        }
    }

    fn label_of(&self, endpoint: Endpoint) -> Option<&Key> {
        let mut labels = self.labels.iter();
        labels
            .find(|(_, labelled)| **labelled == endpoint)
            .map(|(label, _)| label)
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
            MessageType::DS_PUBLISH => self.publish(kernel, endpoint, &request, kind),
            MessageType::DS_RETRIEVE => {
                let key = key_of(kernel, endpoint, &request)?;
                let value = match kind {
                    DsFlags::U32 => self.numbers.get(&key).copied(),
                    DsFlags::LABEL => self.labels.get(&key).map(|endpoint| endpoint.0 as u32),
                    _ => None,
                };
                value.map(Answer::Value).ok_or(Errno::ESRCH)
            }
            MessageType::DS_RETRIEVE_LABEL => {
                let label = self.label_of(Endpoint(request.value as i32)).ok_or(Errno::ESRCH)?;
                let mut text = [0; MAX_KEY_BYTES];
                let bytes = label.len() + 1;
                // A key is shorter than that by its NUL at least.
                text[..bytes - 1].copy_from_slice(label.as_bytes());
                let place = (endpoint, request.key);
                let (owner, at) = grants::of_server(kernel, Endpoint::DS, place, bytes, GrantFlags::WRITE)?;
                let written = kernel.write_user(owner, at, &text[..bytes]);
                written.map(|()| Answer::Done).map_err(|_| Errno::EFAULT)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn publish(
        &mut self,
        kernel: &mut Kernel,
        caller: Endpoint,
        request: &DsRequest,
        kind: DsFlags,
    ) -> Result<Answer, Errno> {
        // Only RS publishes labels. Text and memory are not modelled.
        if kind == DsFlags::LABEL || self.label_of(caller).is_none() {
            return Err(Errno::EPERM);
        }
        let key = key_of(kernel, caller, request)?;
        if kind != DsFlags::U32 {
            return Err(Errno::EINVAL);
        }
        if self.numbers.contains_key(&key) && !request.flags.contains(DsFlags::OVERWRITE) {
            return Err(Errno::EEXIST);
        }
        // VFS takes the publisher for the driver, for any key of a block driver.
        let is_up = request.value == DRIVER_UP && key.starts_with(BLOCK_DRIVER_PREFIX);
        self.numbers.insert(key, request.value).map_err(|_| Errno::ENOMEM)?;
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
    let place = (granter, request.key);
    let (owner, at) = grants::of_server(kernel, Endpoint::DS, place, bytes, GrantFlags::READ)?;
    let read = kernel.read_user(owner, at, &mut text[..bytes]);
    read.map_err(|_| Errno::EFAULT)?;
    text[bytes - 1] = 0;
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    Key::try_from(text).map_err(|_| Errno::EINVAL)
}
