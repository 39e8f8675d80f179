//! Operations that are one request, and changes of a part of a block.

use virtio_blk::proto::SECTOR_BYTES;
use virtio_blk::{Limits, Request, SubmitError};
use virtio_bounce::{BlockParts, BounceOr, Span, Spans};
use virtio_core::{DmaSegments, Transport};

use mutex::ScopedRawMutex;

use crate::slots::{Access, Done, SlotId, SlotRequest};
use crate::state::Refusal;
use crate::transfer::Memory;
use crate::turn::Turn;
use crate::{AsyncDisk, Error, Sector, SectorRange};

impl Access {
    /// That of a request on `bytes` bytes from `first` on.
    pub(crate) fn of(first: Sector, bytes: u64, changes: bool) -> Self {
        let sectors = bytes.div_ceil(SECTOR_BYTES);
        Self::range(SectorRange { first, sectors }, changes)
    }

    /// That of a request on `range`.
    pub(crate) fn range(range: SectorRange, changes: bool) -> Self {
        let first = range.first.get();
        Self {
            sectors: first..first.saturating_add(range.sectors),
            changes,
            exclusive: false,
        }
    }

    /// That of a flush, which waits for late writes to all of the disk.
    const FLUSH: Self = Self {
        sectors: 0..u64::MAX,
        changes: false,
        exclusive: false,
    };
}

impl<M: ScopedRawMutex, T: Transport, const N: usize, const BLOCKS: usize, B: DmaSegments>
    AsyncDisk<M, T, N, BLOCKS, B>
{
    /// Waits for the head of the line.
    async fn turn(&self) -> Turn<'_, M, T, N, BLOCKS, B> {
        Turn::new(self, self.line.lock().await)
    }

    /// Carries out one request without a bounce buffer.
    async fn run(&self, access: Access, request: impl FnOnce(SlotId) -> SlotRequest<B>) -> Result<Done<B>, Refusal<B>> {
        let refused = |error| Refusal { error, buffer: None };
        let mut turn = self.turn().await;
        let (slot, _) = turn.room(&access, false).await.map_err(refused)?;
        slot.prepare(access, request);
        turn.send(&slot).await?;
        drop(turn);
        let done = slot.done().await.map_err(refused)?;
        slot.finish(None);
        Ok(done)
    }

    /// Carries out one request without data.
    async fn run_plain(&self, access: Access, request: impl FnOnce(SlotId) -> SlotRequest<B>) -> Result<(), Error> {
        match self.run(access, request).await {
            Ok(done) => Ok(done.result?),
            Err(refusal) => Err(refusal.error),
        }
    }

    pub(crate) async fn run_flush(&self) -> Result<(), Error> {
        if self.limits_now().flush {
            self.run_plain(Access::FLUSH, Request::flush).await
        } else {
            // Late writes count, too.
            self.turn().await.clear(&Access::FLUSH).await
        }
    }

    pub(crate) async fn run_discard(&self, range: SectorRange) -> Result<(), Error> {
        self.run_plain(Access::range(range, true), |slot| Request::discard(range, slot))
            .await
    }

    pub(crate) async fn run_write_zeroes(&self, range: SectorRange, may_unmap: bool) -> Result<(), Error> {
        let request = |slot| Request::write_zeroes(range, may_unmap, slot);
        self.run_plain(Access::range(range, true), request).await
    }

    /// A transfer of `place`, without a copy. The buffer is there again when it is over, however it ended.
    pub(crate) async fn run_buffer(
        &self,
        first: Sector,
        place: &mut Option<B>,
        request: fn(Sector, BounceOr<B>, SlotId) -> SlotRequest<B>,
        changes: bool,
    ) -> Result<(), Error> {
        let Some(buffer) = place else {
            return Err(Error::Refused(SubmitError::Empty));
        };
        let bytes = buffer.segments().iter().map(|segment| u64::from(segment.len)).sum();
        let access = Access::of(first, bytes, changes);
        let mut turn = self.turn().await;
        let (slot, _) = turn.room(&access, false).await?;
        if let Some(buffer) = place.take() {
            slot.prepare(access, |slot| request(first, BounceOr::Direct(buffer), slot));
        }
        let sent = turn.send(&slot).await;
        drop(turn);
        let (buffer, result) = match sent {
            Ok(()) => {
                let Done { buffer, result } = slot.done().await?;
                (buffer, result.map_err(Error::from))
            }
            Err(Refusal { buffer, error }) => (buffer, Err(error)),
        };
        if let Some(BounceOr::Direct(buffer)) = buffer {
            *place = Some(buffer);
        }
        slot.finish(None);
        result
    }

    /// The spans of a range of bytes, of a disk with these limits. What belongs together is cut by the same limits: another disk may be
    /// there after a wait.
    pub(crate) fn spans(&self, limits: &Limits, offset: u64, len: usize) -> Result<Spans, Error> {
        let end = limits.whole_bytes();
        if offset.checked_add(len as u64).is_none_or(|after| after > end) {
            return Err(Error::OutOfRange { end });
        }
        // Without the feature `split`, a request is not longer than the device takes.
        let most = self.block_bytes.min(limits.single_piece_bytes() as usize);
        Spans::new(offset, len, limits.block_bytes as usize, most).ok_or(Error::BounceTooSmall {
            block_bytes: limits.block_bytes,
        })
    }

    /// A transfer of whole blocks.
    pub(crate) async fn transfer_blocks(&self, first: Sector, memory: Memory<'_>) -> Result<(), Error> {
        if memory.len() == 0 {
            return Ok(());
        }
        let limits = self.limits_now();
        limits.check_transfer(first, memory.len() as u64)?;
        // It was checked that the end of it is on the disk.
        let spans = self.spans(&limits, first.get().wrapping_mul(SECTOR_BYTES), memory.len())?;
        self.transfer(spans, memory).await
    }

    /// Writes any bytes: blocks of which only a part is written are read before.
    pub(crate) async fn change_bytes(&self, offset: u64, memory: &[u8]) -> Result<(), Error> {
        let limits = self.limits_now();
        // The range as a whole first, so that nothing of one that is too long is written.
        self.spans(&limits, offset, memory.len())?;
        let parts = BlockParts::of(offset, memory.len(), limits.block_bytes);
        let (head, rest) = memory.split_at(parts.head);
        let (middle, tail) = rest.split_at(parts.middle);
        let after_head = offset + head.len() as u64;
        let of_head = self.spans(&limits, offset, head.len())?.next();
        let of_middle = self.spans(&limits, after_head, middle.len())?;
        let of_tail = self
            .spans(&limits, after_head + middle.len() as u64, tail.len())?
            .next();
        self.change_block(of_head, head).await?;
        self.transfer(of_middle, Memory::Write(middle)).await?;
        self.change_block(of_tail, tail).await
    }

    /// Replaces bytes inside of one block: those that `span` wants, if there is one.
    ///
    /// The block is read with no write to it in flight, and until the change is written nothing else that touches it is sent. So two
    /// tasks that change different bytes of a block do not undo each other's changes. The head of the line is kept for as long as the
    /// block is being read.
    async fn change_block(&self, span: Option<Span>, bytes: &[u8]) -> Result<(), Error> {
        let Some(span) = span else {
            return Ok(());
        };
        let first = Sector(span.start / SECTOR_BYTES);
        let write = Access {
            exclusive: true,
            ..Access::of(first, span.bytes as u64, true)
        };
        let mut turn = self.turn().await;
        let (slot, block) = turn.room(&write, true).await?;
        let mut block = block.ok_or(Error::NoBounceBuffer)?;
        // A span is not longer than a block.
        let _ = block.set_len(span.bytes);
        let read = Access::of(first, span.bytes as u64, false);
        slot.prepare(read, |slot| Request::read(first, BounceOr::Bounce(block), slot));
        if let Err(Refusal { error, buffer }) = turn.send(&slot).await {
            slot.finish(buffer);
            return Err(error);
        }
        let mut block = match slot.done().await? {
            Done {
                buffer: Some(BounceOr::Bounce(block)),
                result: Ok(()),
            } => block,
            Done { buffer, result } => {
                slot.finish(buffer);
                return result.map_err(Error::from);
            }
        };
        block[span.wanted].copy_from_slice(bytes);
        slot.prepare(write, |slot| Request::write(first, BounceOr::Bounce(block), slot));
        if let Err(Refusal { error, buffer }) = turn.send(&slot).await {
            slot.finish(buffer);
            return Err(error);
        }
        drop(turn);
        let Done { buffer, result } = slot.done().await?;
        slot.finish(buffer);
        Ok(result?)
    }
}
