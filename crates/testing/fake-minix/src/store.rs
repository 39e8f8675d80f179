//! DS: labels that RS gives out, and numbers that services publish.
//!
//! It is less kind than the real one: a number stays when the label of its publisher goes.

use std::collections::BTreeMap;

use minix_abi::ds::{DsFlags, DsReply, DsRequest};
use minix_abi::grant::GrantFlags;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};

use crate::host::{GrantTable, readable, writable};

/// Labels and numbers.
#[derive(Debug, Default)]
pub struct Store {
    /// By endpoint.
    pub labels: BTreeMap<i32, String>,
    pub numbers: BTreeMap<String, u32>,
    /// Published before the next overwriting publication, as if another service had been quicker.
    pub rival: Option<(String, u32)>,
}

impl Store {
    pub(crate) fn answer(&mut self, grants: GrantTable, message: &mut Message) {
        let result = self.handle(grants, message.kind, message.payload());
        if let Ok(value) = result {
            message.set_payload(&DsReply { value, value_bytes: 0 });
        }
        message.kind = Status::from(result.map(drop)).into();
    }

    fn handle(&mut self, grants: GrantTable, kind: MessageType, request: DsRequest) -> Result<u32, Errno> {
        if kind == MessageType::DS_RETRIEVE_LABEL {
            let label = self.labels.get(&request.value.cast_signed()).ok_or(Errno::ESRCH)?;
            let bytes = label.len() as u64;
            let place = grants.check(Endpoint::DS, request.key, 0, bytes, GrantFlags::WRITE)?;
            writable(place, bytes).copy_from_slice(label.as_bytes());
            return Ok(0);
        }
        let bytes = request.key_bytes as u64;
        let place = grants.check(Endpoint::DS, request.key, 0, bytes, GrantFlags::READ)?;
        let key = readable(place, bytes).strip_suffix(b"\0").expect("a key ends with NUL");
        let key = String::from_utf8(key.to_vec()).expect("ASCII");
        let overwrites = request.flags.contains(DsFlags::OVERWRITE);
        match kind {
            MessageType::DS_PUBLISH => {
                if let Some((key, value)) = self.rival.take_if(|_| overwrites) {
                    self.numbers.insert(key, value);
                } else if self.numbers.contains_key(&key) && !overwrites {
                    return Err(Errno::EEXIST);
                } else {
                    self.numbers.insert(key, request.value);
                }
                Ok(0)
            }
            MessageType::DS_RETRIEVE if request.flags & DsFlags::TYPE_MASK == DsFlags::LABEL => {
                let mut labels = self.labels.iter();
                let found = labels.find(|(_, label)| **label == key).ok_or(Errno::ESRCH)?;
                Ok(found.0.cast_unsigned())
            }
            MessageType::DS_RETRIEVE => self.numbers.get(&key).copied().ok_or(Errno::ESRCH),
            kind => panic!("unexpected: {kind:?}"),
        }
    }
}
