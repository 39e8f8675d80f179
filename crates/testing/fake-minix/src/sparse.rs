//! A disk of any size, of which only written sectors take memory. It moves data from and to memory of this process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use guest_protocol::pattern;
use minix_abi::kernel_call::GrantedRange as _;
use minix_blockdriver::{
    BOUNCE_BYTES, BlockDevice, BounceBuffer, Broken, Data, DeviceError, DeviceRequest, Direction, DiskInfo, Listen,
    RangeOperation, Refusal, Tag, Together,
};
use minix_rt::kernel::LentRange;

use crate::PHYSICAL;
use crate::disk::{Change, Op, disk_info};
use crate::host::writable;

const SECTOR: usize = 512;
const BOUNCE_BUFFERS: usize = 4;

/// Data on its way between memory and disk.
#[derive(Debug)]
pub struct Transfer {
    pub write: bool,
    pub first: u64,
    pub data: Vec<u8>,
}

type Tamper = Box<dyn FnMut(&mut Transfer)>;

/// The content of a disk.
pub struct Content {
    /// The pattern that the disk holds where nothing was written.
    pub original: u64,
    pub written: HashMap<u64, [u8; SECTOR]>,
    /// Changes where a transfer goes.
    pub misplace: Option<Tamper>,
    /// Changes the data of a transfer.
    pub tamper: Option<Tamper>,
    /// Every change, if it is to be kept, for a test that cuts the power.
    pub changes: Option<Vec<Change>>,
}

impl Content {
    /// A disk that nothing was written to.
    pub fn new(original: u64) -> Self {
        Self {
            original,
            written: HashMap::new(),
            misplace: None,
            tamper: None,
            changes: None,
        }
    }

    pub fn read(&self, sector: u64) -> [u8; SECTOR] {
        self.written.get(&sector).copied().unwrap_or_else(|| {
            let mut original = [0; SECTOR];
            pattern::fill(self.original, sector, &mut original);
            original
        })
    }

    pub fn write(&mut self, first: u64, data: &[u8]) {
        for (sector, bytes) in (first..).zip(data.chunks(SECTOR)) {
            self.written.insert(sector, bytes.try_into().expect("whole sectors"));
        }
        if let Some(changes) = &mut self.changes {
            changes.push(Change::Sectors {
                op: Op::Write,
                first,
                bytes: data.to_vec(),
                durable: false,
            });
        }
    }

    /// How many changes there are.
    fn changed(&self) -> usize {
        self.changes.as_ref().map_or(0, Vec::len)
    }
}

enum Place {
    Ranges(Vec<LentRange>),
    Bounce(usize, usize),
    /// So many bytes of zeroes, which are in no memory.
    Zeroes(usize),
}

/// A request that is not complete.
struct Pending {
    tag: Tag,
    /// What is to be carried out yet.
    work: Option<Work>,
    /// How many changes there were when it was submitted.
    before: usize,
    /// The flush makes so many changes durable.
    covers: Option<usize>,
}

/// A transfer that was not carried out yet.
struct Work {
    write: bool,
    first: u64,
    place: Place,
}

/// See the module. Half of the requests are carried out at once and completed later: a driver that dies meanwhile has not
/// answered them. The last one is completed first.
pub struct SparseDisk {
    pub info: DiskInfo,
    content: Rc<RefCell<Content>>,
    /// The ranges of the next request.
    listed: Option<(Tag, Vec<LentRange>)>,
    pending: Vec<Pending>,
    bounce: Vec<Box<[u8; BOUNCE_BYTES]>>,
}

impl SparseDisk {
    /// The disk with this content, as a driver finds it.
    pub fn new(sectors: u64, content: Rc<RefCell<Content>>) -> Self {
        Self {
            info: DiskInfo {
                max_segments: 126,
                discard: None,
                zeroes_unmap: false,
                secure_erase: None,
                lifetime: false,
                ..disk_info(sectors)
            },
            content,
            listed: None,
            pending: Vec::new(),
            bounce: (0..BOUNCE_BUFFERS).map(|_| Box::new([0; BOUNCE_BYTES])).collect(),
        }
    }

    fn carry_out(&mut self, work: Work) {
        let Work { write, first, place } = work;
        let mut zeroes = Vec::new();
        let mut pieces: Vec<&mut [u8]> = match place {
            Place::Ranges(ranges) => {
                let here = ranges.iter().map(|range| (range.address() - PHYSICAL, range.bytes()));
                here.map(|(address, bytes)| writable(address, bytes)).collect()
            }
            Place::Bounce(block, bytes) => vec![&mut self.bounce[block][..bytes]],
            Place::Zeroes(bytes) => {
                zeroes.resize(bytes, 0);
                vec![&mut zeroes]
            }
        };
        let mut content = self.content.borrow_mut();
        let data = pieces.iter().map(|piece| &**piece).collect::<Vec<_>>().concat();
        let mut transfer = Transfer { write, first, data };
        if let Some(misplace) = &mut content.misplace {
            misplace(&mut transfer);
        }
        if !write {
            let sectors = (transfer.first..).take(transfer.data.len() / SECTOR);
            transfer.data = sectors.map(|sector| content.read(sector)).collect::<Vec<_>>().concat();
        }
        if let Some(tamper) = &mut content.tamper {
            tamper(&mut transfer);
        }
        if write {
            content.write(transfer.first, &transfer.data);
            return;
        }
        let mut rest = &transfer.data[..];
        for piece in &mut pieces {
            let (part, more) = rest.split_at(piece.len().min(rest.len()));
            piece[..part.len()].copy_from_slice(part);
            rest = more;
        }
    }
}

impl BlockDevice for SparseDisk {
    type Range = LentRange;

    fn info(&self) -> Option<&DiskInfo> {
        Some(&self.info)
    }

    fn listen(&mut self, _: Listen) {}

    fn interrupted(&mut self) {}

    fn dismiss_interrupt(&mut self) {}

    fn list_ranges(&mut self, tag: Tag, ranges: &[LentRange]) -> Result<Together, Refusal> {
        self.listed = Some((tag, ranges.to_vec()));
        Ok(Together::of(ranges))
    }

    fn submit(&mut self, request: DeviceRequest, tag: Tag) -> Result<(), Refusal> {
        let mut zeroes = None;
        let (write, first, data) = match request {
            DeviceRequest::Transfer { direction, first, data } => (direction == Direction::Write, first, data),
            DeviceRequest::Flush => {
                // Requests that are not complete may have changed something already, and the flush need not know of it.
                let before = self.content.borrow().changed();
                let covers = self.pending.iter().map(|pending| pending.before).min();
                self.pending.push(Pending {
                    tag,
                    work: None,
                    before,
                    covers: Some(covers.unwrap_or(before)),
                });
                return Ok(());
            }
            DeviceRequest::Range {
                operation: RangeOperation::WriteZeroes { .. },
                first,
                sectors,
            } => {
                zeroes = Some(sectors as usize * SECTOR);
                (true, first, Data::Granted)
            }
            DeviceRequest::Range { .. } | DeviceRequest::Identify | DeviceRequest::AskLifetime => {
                return Err(Refusal::Unsupported);
            }
        };
        let (place, bytes) = match (zeroes, data) {
            (Some(bytes), _) => (Place::Zeroes(bytes), bytes as u64),
            (None, Data::Granted) => {
                let (listed, ranges) = self.listed.take().expect("ranges are listed");
                assert_eq!(listed, tag, "the ranges are those of another request");
                let is_odd = |range: &LentRange| !range.address().is_multiple_of(2);
                assert!(!ranges.iter().any(is_odd) && ranges.len() <= usize::from(self.info.max_segments));
                let bytes = ranges.iter().map(LentRange::bytes).sum();
                (Place::Ranges(ranges), bytes)
            }
            (None, Data::Bounce(buffer, bytes)) => (Place::Bounce(usize::from(buffer.0), bytes), bytes as u64),
        };
        assert!(bytes > 0 && bytes.is_multiple_of(SECTOR as u64) && first + bytes / 512 <= self.info.sectors);
        let before = self.content.borrow().changed();
        let mut work = Some(Work { write, first, place });
        if tag.0.is_multiple_of(2)
            && let Some(work) = work.take()
        {
            self.carry_out(work);
        }
        self.pending.push(Pending {
            tag,
            work,
            before,
            covers: None,
        });
        Ok(())
    }

    fn notify(&mut self) {}

    fn poll(&mut self, mut done: impl FnMut(Tag, Result<(), DeviceError>)) -> Result<bool, Broken> {
        let is_progress = !self.pending.is_empty();
        while let Some(Pending { tag, work, covers, .. }) = self.pending.pop() {
            if let Some(work) = work {
                self.carry_out(work);
            }
            if let (Some(covers), Some(changes)) = (covers, &mut self.content.borrow_mut().changes) {
                changes.push(Change::Flushed { covers });
            }
            done(tag, Ok(()));
        }
        Ok(is_progress)
    }

    fn reset(&mut self, _: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken> {
        self.pending.clear();
        Ok(())
    }

    fn is_alive(&mut self) -> bool {
        true
    }

    fn set_write_cache(&mut self, on: bool) -> Result<(), Refusal> {
        self.info.write_cache = on;
        Ok(())
    }

    fn bounce_buffers(&self) -> u8 {
        BOUNCE_BUFFERS as u8
    }

    fn bounce_buffer(&mut self, buffer: BounceBuffer) -> Option<&mut [u8; BOUNCE_BYTES]> {
        let nth = usize::from(buffer.0);
        let is_used = |place: &Place| matches!(place, Place::Bounce(used, _) if *used == nth);
        let mut works = self.pending.iter().filter_map(|pending| pending.work.as_ref());
        if works.any(|work| is_used(&work.place)) {
            return None;
        }
        self.bounce.get_mut(nth).map(|buffer| &mut **buffer)
    }
}
