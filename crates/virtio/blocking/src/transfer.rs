//! Transfers of memory of the caller through bounce buffers, several of them in flight.

use virtio_blk::proto::SECTOR_BYTES;
use virtio_blk::{Request, SubmitError};
use virtio_bounce::{BlockParts, BounceBlock, BounceOr, Span, Spans};
use virtio_core::{DmaSegments, Transport};

use crate::engine::Done;
use crate::{BlockIo, BlockingDisk, Error, Place, Sector, WaitHook};

/// The memory of a transfer, and its direction.
pub(crate) enum Memory<'m> {
    Read(&'m mut [u8]),
    Write(&'m [u8]),
}

impl Memory<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Read(memory) => memory.len(),
            Self::Write(memory) => memory.len(),
        }
    }

    /// The request of one span. Its data is copied into `block` if it is for the disk; it is whole then.
    fn request<B: DmaSegments>(&self, span: &Span, mut block: BounceBlock) -> Request<BounceOr<B>, Place> {
        let (first, place) = (sector(span.start), Place::of(span));
        match self {
            Self::Read(_) => Request::read(first, BounceOr::Bounce(block), place),
            Self::Write(memory) => {
                block[span.wanted.clone()].copy_from_slice(&memory[span.place.clone()]);
                Request::write(first, BounceOr::Bounce(block), place)
            }
        }
    }

    /// Copies what the device has read to its place.
    fn take_read(&mut self, place: &Place, block: &BounceBlock) {
        if let Self::Read(memory) = self {
            memory[place.bytes.clone()].copy_from_slice(&block[place.in_block()]);
        }
    }
}

/// The sector that starts with this byte.
fn sector(byte: u64) -> Sector {
    Sector(byte / SECTOR_BYTES)
}

impl<T: Transport, W: WaitHook, const N: usize, const BLOCKS: usize, B: DmaSegments> BlockingDisk<T, W, N, BLOCKS, B> {
    /// A transfer of whole blocks.
    pub(crate) fn transfer_blocks(&mut self, first: Sector, memory: Memory<'_>) -> Result<(), Error> {
        if memory.len() == 0 {
            return Ok(());
        }
        self.limits().check_transfer(first, memory.len() as u64)?;
        self.settle()?;
        // It was checked that the end of it is on the disk.
        self.transfer(first.get().wrapping_mul(SECTOR_BYTES), memory)
    }

    /// Reads any bytes.
    pub(crate) fn read_any(&mut self, offset: u64, memory: &mut [u8]) -> Result<(), Error> {
        self.spans(offset, memory.len())?;
        self.settle()?;
        self.transfer(offset, Memory::Read(memory))
    }

    /// The spans of a range of bytes.
    fn spans(&self, offset: u64, len: usize) -> Result<Spans, Error> {
        let limits = self.limits();
        let end = self.capacity_bytes();
        if offset.checked_add(len as u64).is_none_or(|after| after > end) {
            return Err(Error::OutOfRange { end });
        }
        // Without the feature `split`, a request is not longer than the device takes.
        let most = self.pool.block_bytes().min(limits.single_piece_bytes() as usize);
        Spans::new(offset, len, limits.block_bytes as usize, most).ok_or(Error::BounceTooSmall {
            block_bytes: limits.block_bytes,
        })
    }

    /// A transfer of any bytes on an idle device; if it is a write, of whole blocks.
    fn transfer(&mut self, offset: u64, mut memory: Memory<'_>) -> Result<(), Error> {
        let mut spans = self.spans(offset, memory.len())?;
        let Self { engine, pool, .. } = self;
        let mut watch = engine.watch();
        let mut next = spans.next();
        let mut outcome = Ok(());
        loop {
            while outcome.is_ok()
                && let Some(span) = &next
                && let Some(mut block) = pool.take()
            {
                // A span is not longer than a block.
                let _ = block.set_len(span.bytes);
                match engine.disk.submit(memory.request(span, block)) {
                    Ok(()) => next = spans.next(),
                    Err(rejected) => {
                        let is_full = rejected.error == SubmitError::QueueFull && !engine.is_idle();
                        if !is_full {
                            outcome = Err(rejected.error.into());
                        }
                        if let (Some(BounceOr::Bounce(block)), _) = rejected.request.into_parts() {
                            // It was just taken.
                            let _ = pool.put_back(block);
                        }
                        break;
                    }
                }
            }
            if engine.is_idle() {
                // With none in flight, all blocks that there are were free.
                let is_stuck = next.is_some() && outcome.is_ok();
                return if is_stuck { Err(Error::NoBounceBuffer) } else { outcome };
            }
            engine.disk.notify();
            let mut take = |done: Done<B>| {
                if let Some(BounceOr::Bounce(block)) = done.buffer {
                    if done.result.is_ok() {
                        memory.take_read(&done.token, &block);
                    }
                    // It was taken above.
                    let _ = pool.put_back(block);
                }
                if let Err(error) = done.result
                    && outcome.is_ok()
                {
                    outcome = Err(error.into());
                }
            };
            if let Err(error) = engine.step(&mut watch, &mut take) {
                return outcome.and(Err(error));
            }
        }
    }

    /// Writes any bytes: blocks of which only a part is written are read before.
    pub(crate) fn change_bytes(&mut self, offset: u64, memory: &[u8]) -> Result<(), Error> {
        // The range as a whole first, so that nothing of one that is too long is written.
        self.spans(offset, memory.len())?;
        self.settle()?;
        let parts = BlockParts::of(offset, memory.len(), self.limits().block_bytes);
        let (head, rest) = memory.split_at(parts.head);
        let (middle, tail) = rest.split_at(parts.middle);
        let after_head = offset + head.len() as u64;
        self.change_block(offset, head)?;
        self.transfer(after_head, Memory::Write(middle))?;
        self.change_block(after_head + middle.len() as u64, tail)
    }

    /// Replaces bytes inside of one block, on an idle device.
    fn change_block(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let Some(span) = self.spans(offset, bytes.len())?.next() else {
            return Ok(());
        };
        let mut block = self.pool.take().ok_or(Error::NoBounceBuffer)?;
        // A span is not longer than a block.
        let _ = block.set_len(span.bytes);
        let first = sector(span.start);
        let mut block = self.run_block(Request::read(first, BounceOr::Bounce(block), Place::NONE))?;
        block[span.wanted].copy_from_slice(bytes);
        let block = self.run_block(Request::write(first, BounceOr::Bounce(block), Place::NONE))?;
        // It was taken above.
        let _ = self.pool.put_back(block);
        Ok(())
    }

    /// Carries out a request with a bounce buffer, which comes back if all went well, and else goes to the pool.
    fn run_block(&mut self, request: Request<BounceOr<B>, Place>) -> Result<BounceBlock, Error> {
        let (buffer, error) = match self.engine.run(request) {
            Ok(done) => (done.buffer, done.result.err().map(Error::from)),
            Err(failed) => (failed.buffer, Some(failed.error)),
        };
        match (buffer, error) {
            (Some(BounceOr::Bounce(block)), None) => Ok(block),
            (Some(BounceOr::Bounce(block)), Some(error)) => {
                // It is of this pool.
                let _ = self.pool.put_back(block);
                Err(error)
            }
            (_, error) => Err(error.unwrap_or(Error::NoBounceBuffer)),
        }
    }
}
