//! The data store: who am I called, I am here, where are you.

use core::fmt;

use minix_abi::ds::{DsFlags, DsReply, DsRequest, MAX_KEY_BYTES, MIN_KEY_BYTES};
use minix_abi::{Endpoint, Errno, Message, MessageType};

use crate::Ipc;
use crate::grant::Grants;

/// A name that RS gave to a service.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label {
    /// Text of `length` bytes, padded with zeroes.
    bytes: [u8; MAX_KEY_BYTES],
    length: u8,
}

impl Label {
    /// A label; `None` if it is empty or longer than 79 bytes.
    pub fn new(text: &str) -> Option<Self> {
        if text.contains('\0') {
            return None;
        }
        Key::new(text).ok().map(|Key { bytes, with_nul }| Self {
            bytes,
            length: with_nul - 1,
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // It was text when it came in.
        self.bytes
            .get(..usize::from(self.length))
            .and_then(|text| core::str::from_utf8(text).ok())
            .unwrap_or("")
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A key as DS wants it: with NUL.
struct Key {
    bytes: [u8; MAX_KEY_BYTES],
    with_nul: u8,
}

impl Key {
    fn new(text: &str) -> Result<Self, Errno> {
        let with_nul = text.len() + 1;
        if !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&with_nul) {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; MAX_KEY_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self {
            bytes,
            // At most 80.
            with_nul: with_nul as u8,
        })
    }

    fn with_nul(&self) -> &[u8] {
        &self.bytes[..usize::from(self.with_nul)]
    }
}

/// The label of a process: the caller's, or another one's.
///
/// # Errors
///
/// [`ESRCH`](Errno::ESRCH) if it has none, as one that RS has buried; [`EBADMSG`](Errno::EBADMSG) for one that is no text of 1 to 79 bytes;
/// [`ENOSPC`](Errno::ENOSPC) if no grant is free.
pub fn own_label<const N: usize>(
    ipc: &mut impl Ipc,
    grants: &mut Grants<N>,
    endpoint: Endpoint,
) -> Result<Label, Errno> {
    let mut bytes = [0; MAX_KEY_BYTES];
    let reply = grants.filling(Endpoint::DS, &mut bytes, |grant| {
        ask(
            ipc,
            MessageType::DS_RETRIEVE_LABEL,
            &DsRequest::retrieve_label(grant, endpoint),
        )
    });
    reply.ok_or(Errno::ENOSPC)??;
    let length = bytes.iter().position(|&byte| byte == 0).ok_or(Errno::EBADMSG)?;
    let text = core::str::from_utf8(&bytes[..length]).map_err(|_| Errno::EBADMSG)?;
    Label::new(text).ok_or(Errno::EBADMSG)
}

/// Publishes a number under a key of 1 to 79 bytes, in place of the one before.
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for a key of another length; [`ENOSPC`](Errno::ENOSPC) if no grant is free; what DS says.
pub fn publish_u32<const N: usize>(
    ipc: &mut impl Ipc,
    grants: &mut Grants<N>,
    key: &str,
    value: u32,
) -> Result<(), Errno> {
    with_key(ipc, grants, key, MessageType::DS_PUBLISH, |key, length| {
        DsRequest::publish_u32(key, length, value)
    })
    .map(drop)
}

/// Publishes a number under a key that is not there yet.
///
/// # Errors
///
/// [`EEXIST`](Errno::EEXIST) if it is; otherwise as [`publish_u32`].
pub fn publish_new_u32<const N: usize>(
    ipc: &mut impl Ipc,
    grants: &mut Grants<N>,
    key: &str,
    value: u32,
) -> Result<(), Errno> {
    with_key(ipc, grants, key, MessageType::DS_PUBLISH, |key, length| DsRequest {
        flags: DsFlags::U32,
        ..DsRequest::publish_u32(key, length, value)
    })
    .map(drop)
}

/// Fetches the number that was published under a key.
///
/// # Errors
///
/// [`ESRCH`](Errno::ESRCH) if there is none; otherwise as [`publish_u32`].
pub fn retrieve_u32<const N: usize>(ipc: &mut impl Ipc, grants: &mut Grants<N>, key: &str) -> Result<u32, Errno> {
    let reply = with_key(ipc, grants, key, MessageType::DS_RETRIEVE, |key, length| DsRequest {
        key,
        key_bytes: length,
        flags: DsFlags::U32,
        ..DsRequest::default()
    })?;
    Ok(reply.value)
}

/// Finds the service with a label.
///
/// # Errors
///
/// [`ESRCH`](Errno::ESRCH) if there is none; [`EINVAL`](Errno::EINVAL) for a label that is not 1 to 79 bytes long;
/// [`ENOSPC`](Errno::ENOSPC) if no grant is free.
pub fn find_label<const N: usize>(ipc: &mut impl Ipc, grants: &mut Grants<N>, label: &str) -> Result<Endpoint, Errno> {
    let reply = with_key(ipc, grants, label, MessageType::DS_RETRIEVE, |key, length| DsRequest {
        key,
        key_bytes: length,
        flags: DsFlags::LABEL,
        ..DsRequest::default()
    })?;
    Ok(Endpoint(reply.value.cast_signed()))
}

fn with_key<const N: usize>(
    ipc: &mut impl Ipc,
    grants: &mut Grants<N>,
    key: &str,
    kind: MessageType,
    request: impl FnOnce(minix_abi::GrantId, i32) -> DsRequest,
) -> Result<DsReply, Errno> {
    let key = Key::new(key)?;
    grants
        .reading(Endpoint::DS, key.with_nul(), |grant| {
            ask(ipc, kind, &request(grant, i32::from(key.with_nul)))
        })
        .ok_or(Errno::ENOSPC)?
}

fn ask(ipc: &mut impl Ipc, kind: MessageType, request: &DsRequest) -> Result<DsReply, Errno> {
    let mut message = Message::with_payload(kind, request);
    ipc.sendrec(Endpoint::DS, &mut message)?;
    message.status().result().map(|_| message.payload())
}
