//! DS in software: labels of RS's, and numbers of services.
//!
//! It is less kind than DS is: what a service has published stays when its label goes.

use std::collections::BTreeMap;
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use minix_abi::ds::{DsFlags, DsReply, DsRequest};
use minix_abi::grant::{Grant, GrantEntry};
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};

/// What DS knows.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) labels: BTreeMap<i32, String>,
    pub(crate) numbers: BTreeMap<String, u32>,
    /// Done before the next overwriting publication, as if another service had been quicker.
    pub(crate) rival: Option<(String, u32)>,
}

impl Store {
    /// Answers a request of a process with a label, whose table of grants is at an address.
    pub(crate) fn ask(&mut self, table: u64, message: &mut Message) {
        let request: DsRequest = message.payload();
        let result = self.handle(table, message.kind, request);
        if let Ok(value) = result {
            message.set_payload(&DsReply { value, value_bytes: 0 });
        }
        message.kind = Status::from(result.map(drop)).into();
    }

    fn handle(&mut self, table: u64, kind: MessageType, request: DsRequest) -> Result<u32, Errno> {
        if kind == MessageType::DS_RETRIEVE_LABEL {
            let label = self.labels.get(&request.value.cast_signed()).ok_or(Errno::ESRCH)?;
            let place: *mut u8 = with_exposed_provenance_mut(granted(table, request.key));
            // SAFETY: that memory, of 80 bytes, is lent for the time of the request.
            unsafe { place.copy_from(label.as_ptr(), label.len()) };
            return Ok(0);
        }
        let key = key(table, request);
        assert!(request.flags & DsFlags::TYPE_MASK == DsFlags::U32);
        match kind {
            MessageType::DS_PUBLISH => {
                if let Some((key, value)) = self.rival.take_if(|_| request.flags.contains(DsFlags::OVERWRITE)) {
                    self.numbers.insert(key, value);
                    return Ok(0);
                }
                if self.numbers.contains_key(&key) && !request.flags.contains(DsFlags::OVERWRITE) {
                    return Err(Errno::EEXIST);
                }
                self.numbers.insert(key, request.value);
                Ok(0)
            }
            MessageType::DS_RETRIEVE => self.numbers.get(&key).copied().ok_or(Errno::ESRCH),
            kind => panic!("unexpected: {kind:?}"),
        }
    }
}

/// The address that a grant is for.
fn granted(table: u64, grant: GrantId) -> usize {
    let entries: *const GrantEntry = with_exposed_provenance(table as usize);
    let index = grant.index().expect("a grant") as usize;
    // SAFETY: the table is there for good, and the service waits.
    let entry = unsafe { entries.add(index).read_volatile() };
    let Some(Grant::Direct(direct)) = entry.grant() else {
        panic!("not a direct grant");
    };
    assert_eq!(direct.grantee, Endpoint::DS);
    direct.start as usize
}

fn key(table: u64, request: DsRequest) -> String {
    let place: *const u8 = with_exposed_provenance(granted(table, request.key));
    // SAFETY: so many bytes are lent for the time of the request.
    let bytes = unsafe { std::slice::from_raw_parts(place, request.key_bytes as usize) };
    let (nul, text) = bytes.split_last().expect("a key");
    assert_eq!(*nul, 0);
    String::from_utf8(text.to_vec()).expect("ASCII")
}
