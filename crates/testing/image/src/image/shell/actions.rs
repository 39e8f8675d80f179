//! What the commands of the monitor do.

use board_qemu_virt::console::Console;
use board_qemu_virt::println;
use image_blk::SECTOR_BYTES;
use image_blk::options::SectorRange;
use virtio_blk::proto::Sector;
use virtio_core::Transport as _;

use super::command::{Command, Data, HELP};
use super::hex;
use crate::image::scratch::{self, Scratch};
use crate::image::session::{Failure, Request, Session, Waiting};
use crate::image::{bench, describe};

/// Blocks read or written at a time by `read` and `write`.
const CHUNK_BYTES: usize = 64 << 10;
/// The most sectors `read` prints.
const MAX_PRINTED: u64 = 64;

/// The disk a person is working on.
pub(crate) struct Monitor<'m> {
    session: &'m mut Session,
    scratch: &'m mut Scratch,
    /// Where the measurements may write.
    area: Option<SectorRange>,
}

impl<'m> Monitor<'m> {
    pub(super) fn new(session: &'m mut Session, scratch: &'m mut Scratch) -> Self {
        let area = bench::area(session, scratch);
        Monitor { session, scratch, area }
    }

    pub(super) fn waiting(&self) -> Waiting {
        self.session.waiting()
    }

    /// Does a command and tells what came of it.
    pub(super) fn act(&mut self, command: Command<'_>) {
        let outcome = match command {
            // `quit` ends the loop and never gets here.
            Command::Nothing | Command::Quit => Ok(()),
            Command::Help => {
                println!("{HELP}");
                Ok(())
            }
            Command::Info => {
                describe::device(self.session);
                Ok(())
            }
            Command::Regs => {
                self.registers();
                Ok(())
            }
            Command::Queues => {
                self.queues();
                Ok(())
            }
            Command::Stats => {
                println!("{}", self.session.counters());
                Ok(())
            }
            Command::Parts => describe::partitions(self.session).map(drop),
            Command::Read { first, count } => self.read(first, count),
            Command::Write { first, data, count } => self.write(first, data, count),
            Command::Flush => self.flush(),
            Command::Trim { first, count } => self.trim(first, count),
            Command::Zero { first, count } => self.zero(first, count),
            Command::Bench => {
                let seed = self.scratch.seed();
                bench::run(self.session, self.area, seed)
            }
            Command::Reset => {
                self.session.restart();
                println!("the device was reset and started again");
                Ok(())
            }
        };
        if let Err(failure) = outcome {
            println!("error: {failure}");
        }
    }

    /// Starts the device again if a command has left it in a state that only a reset ends.
    pub(super) fn recover(&mut self) {
        self.session.recover();
    }

    /// Looks after interrupts of the disk that no command is waiting for, such as a change of its size.
    /// Whether something was printed.
    pub(super) fn attend(&mut self) -> bool {
        self.session.attend()
    }

    /// Flushes and shuts down. Whether both went well.
    pub(super) fn quit(&mut self) -> bool {
        let flushed = self.session.flush();
        if let Err(failure) = flushed {
            println!("error: the last flush failed: {failure}");
        }
        let (aborted, _) = self.session.shut_down();
        flushed.is_ok() && aborted == 0
    }

    fn registers(&mut self) {
        self.session
            .disk()
            .control()
            .transport()
            .visit_registers(&mut |name, value| println!("{name:<20} {value:#x}"));
    }

    fn queues(&mut self) {
        let queue = self.session.disk().queue();
        let (ring, requests) = (queue.ring_state(), queue.in_flight());
        println!(
            "queue 0: {} descriptors, {} free, {} chains with the device, {} not published, {requests} requests",
            ring.size, ring.free, ring.in_flight, ring.unpublished
        );
        println!(
            "available index {}, used index {} (taken up to {}), used flags {:#x}",
            ring.available_index, ring.used_index, ring.used_seen, ring.used_flags
        );
        println!(
            "{}, {}",
            if ring.event_idx { "event index" } else { "flags" },
            match ring.indirect_entries {
                0 => crate::image::report::text!("direct chains"),
                entries => crate::image::report::text!("indirect tables of {entries}"),
            }
        );
        if let Some(fault) = ring.fault {
            println!("stopped: {fault}");
        }
    }

    fn read(&mut self, first: u64, count: u64) -> Result<(), Failure> {
        let shown = count.min(MAX_PRINTED);
        self.for_blocks(first, shown, |sector, part| {
            // Sectors are below the capacity, whose bytes fit into 64 bits or the disk would not have them.
            let offset = sector.saturating_mul(SECTOR_BYTES as u64);
            // The console takes everything.
            let _ = hex::dump(&mut Console, offset, part);
            false
        })?;
        if shown < count {
            println!("only the first {shown} sectors were printed");
        }
        Ok(())
    }

    fn write(&mut self, first: u64, data: Data<'_>, count: u64) -> Result<(), Failure> {
        self.for_blocks(first, count, |_, part| {
            for sector in part.chunks_mut(SECTOR_BYTES) {
                match data {
                    Data::Byte(byte) => sector.fill(byte),
                    Data::Text(text) => {
                        for (place, byte) in sector.iter_mut().zip(text.bytes()) {
                            *place = byte;
                        }
                    }
                }
            }
            true
        })?;
        match data {
            Data::Byte(0) => scratch::zeroed(first, count),
            // The host cannot compute what a person has typed.
            _ => scratch::discarded(first, count),
        }
        println!("{count} sectors written");
        Ok(())
    }

    /// Reads the blocks that the sectors lie in, hands each piece of the range to `change`, and writes it back if `change`
    /// says so.
    fn for_blocks(
        &mut self,
        first: u64,
        count: u64,
        mut change: impl FnMut(u64, &mut [u8]) -> bool,
    ) -> Result<(), Failure> {
        let limits = *self.session.disk().limits();
        let block = limits.block_sectors();
        let chunk = (CHUNK_BYTES / SECTOR_BYTES) as u64;
        let chunk = chunk.next_multiple_of(block);
        let capacity = limits.capacity.get();
        let end = first.checked_add(count).filter(|end| *end <= capacity);
        let Some(end) = end else {
            return Err(Failure::Submit(virtio_blk::SubmitError::OutOfRange { capacity }));
        };
        let mut at = first / block * block;
        let end_block = end.next_multiple_of(block).min(capacity);
        while at < end_block {
            let sectors = chunk.min(end_block - at);
            let slice = self.session.allocate(sectors as usize * SECTOR_BYTES)?;
            let mut slice = self.session.read(at, slice)?;
            let from = first.max(at);
            let to = end.min(at + sectors);
            let part = &mut slice[(from - at) as usize * SECTOR_BYTES..(to - at) as usize * SECTOR_BYTES];
            if change(from, part) {
                slice = self.session.write(at, slice)?;
            }
            self.session.release(slice);
            at += sectors;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let supported = self.session.disk().limits().flush;
        self.session.flush()?;
        println!(
            "{}",
            if supported {
                "flushed"
            } else {
                "the disk has no write cache"
            }
        );
        Ok(())
    }

    fn trim(&mut self, first: u64, count: u64) -> Result<(), Failure> {
        let range = virtio_blk::SectorRange {
            first: Sector(first),
            sectors: count,
        };
        self.session.command(Request::discard(range, 0))?;
        scratch::discarded(first, count);
        println!("{count} sectors given up");
        Ok(())
    }

    fn zero(&mut self, first: u64, count: u64) -> Result<(), Failure> {
        let range = virtio_blk::SectorRange {
            first: Sector(first),
            sectors: count,
        };
        self.session.command(Request::write_zeroes(range, true, 0))?;
        scratch::zeroed(first, count);
        println!("{count} sectors zeroed");
        Ok(())
    }
}
