//! The memory of requests, from the adapter to the driver and back.

use minix_blockdriver::{BounceBuffer, DeviceError, Refusal, Tag};
use virtio_blk::proto::{DeviceIdString, Lifetime, StatusError};
use virtio_blk::{Answer, Completion, IoError, Rejected};
use virtio_core::RawSegments;

use super::translate::refusal;
use crate::bounce::BounceBuffers;
use crate::device_state::Data;
use crate::lists::{List, Lists};

/// Memory for requests in flight.
pub(super) struct RequestMemory {
    pub(super) lists: Lists,
    pub(super) bounce: BounceBuffers,
    pub(super) answers: Answers,
}

impl RequestMemory {
    /// The memory of a request as the driver wants it.
    #[inline(always)]
    pub(super) fn lend(&mut self, data: minix_blockdriver::Data, tag: Tag) -> Result<Data, Refusal> {
        let list = match data {
            minix_blockdriver::Data::Granted => self.lists.take(tag).ok_or(Refusal::Full)?,
            minix_blockdriver::Data::Bounce(buffer, bytes) => self.list_bounce(buffer, bytes, tag)?,
        };
        // SAFETY: the segments are of two kinds. Granted ranges are for a device whenever it likes: that is what a `LentRange`
        // says. The other kind lies in a bounce buffer that is lent: `BounceBuffers` hands out no bytes of it until the list,
        // which names the buffer, is back. The list owns its memory by exclusive reference, so it does not change.
        Ok(unsafe { RawSegments::new(list) })
    }

    /// The list of a request that goes through a bounce buffer, which is lent.
    #[cold]
    #[inline(never)]
    fn list_bounce(&mut self, buffer: BounceBuffer, bytes: usize, tag: Tag) -> Result<List, Refusal> {
        // The device cannot begin before it is notified, but from here on the bytes are not ours.
        let segment = self.bounce.lend(buffer, bytes).ok_or(Refusal::Invalid)?;
        let list = self.lists.take_bounce(tag, segment, buffer);
        if list.is_none() {
            self.bounce.put_back(buffer);
        }
        list.ok_or(Refusal::Full)
    }

    /// The driver has not taken a request.
    #[cold]
    #[inline(never)]
    pub(super) fn refused(&mut self, rejected: Rejected<Data, Tag>) -> Refusal {
        let (data, tag) = rejected.request.into_parts();
        if let Some(data) = data {
            self.put_back(data, tag);
        }
        refusal(rejected.error)
    }

    /// Takes apart what came back from the driver.
    pub(super) fn complete(&mut self, completion: Completion<Data, Tag>) -> (Tag, Result<(), DeviceError>) {
        let tag = completion.token;
        match completion.buffer {
            Some(data) => self.put_back(data, tag),
            None => self.answers.keep(&completion.result),
        }
        let result = completion.result.map(drop).map_err(|error| match error {
            IoError::Device(StatusError::Unsupported) => DeviceError::Unsupported,
            _ => DeviceError::Io,
        });
        (tag, result)
    }

    fn put_back(&mut self, data: Data, tag: Tag) {
        let list = data.into_inner();
        if let Some(buffer) = list.bounce() {
            self.bounce.put_back(buffer);
        }
        self.lists.put_back(tag, list);
    }
}

/// What the device has answered besides data.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    pub(super) id: Option<DeviceIdString>,
    pub(super) lifetime: Option<Lifetime>,
}

impl Answers {
    /// A request without data is over.
    #[cold]
    fn keep(&mut self, result: &Result<Answer, IoError>) {
        match *result {
            Ok(Answer::Id(id)) => self.id = Some(id),
            Ok(Answer::Lifetime(lifetime)) => self.lifetime = Some(lifetime),
            _ => {}
        }
    }
}
