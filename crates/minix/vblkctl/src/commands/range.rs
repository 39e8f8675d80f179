//! `discard`, `zero` and `erase`: what is in a range of sectors is given up.

use core::fmt;

use minix_abi::Errno;
use minix_abi::disk_control::{RangeFlags, RangeRequest, SECTOR_BYTES};
use minix_abi::ioctl::IoctlCode;
use minix_abi::vfs::Descriptor;

use crate::arguments::{Action, Range, Span};
use crate::calls::Calls;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::output::{Output, print};
use crate::units::sectors;

/// Sectors of one request: 64 MiB. Other requests for the disk wait for one as long as it takes, and between two they get their
/// turn.
const PIECE_SECTORS: u64 = 64 << 20 >> 9;

impl Action {
    const fn code(self) -> IoctlCode {
        match self {
            Self::Discard => IoctlCode::VBLKDISCARD,
            Self::Zero { .. } => IoctlCode::VBLKZERO,
            Self::Erase => IoctlCode::VBLKERASE,
        }
    }

    /// The verb for a message about sectors.
    const fn verb(self) -> &'static str {
        match self {
            Self::Discard => "discard",
            Self::Zero { .. } => "zero",
            Self::Erase => "erase",
        }
    }

    const fn past(self) -> &'static str {
        match self {
            Self::Discard => "discarded",
            Self::Zero { .. } => "zeroed",
            Self::Erase => "erased",
        }
    }
}

pub(super) fn run<C: Calls>(calls: &mut C, device: &str, range: &Range) -> Result<(), Failure> {
    let mut disk = Disk::open_to_write(calls, device)?;
    disk.check_version()?;
    let bytes: u64 = disk
        .tell(IoctlCode::DIOCGMEDIASIZE)
        .map_err(|errno| disk.unless_unknown(errno, "ask for the size"))?;
    let size = bytes / SECTOR_BYTES;
    let (first, count) = match range.span {
        Span::All => (0, size),
        Span::Sectors { first, count } => (first, count),
    };
    let is_inside = first.checked_add(count).is_some_and(|end| end <= size);
    if !is_inside || count == 0 {
        return Err(Failure::Outside { first, count, size });
    }
    if range.span == Span::All && !range.yes && !range.force {
        confirm(disk.calls, device, range.action, size)?;
    }
    give_up(&mut disk, range, first, count)?;
    drop(disk);
    print(calls, |out| {
        let past = range.action.past();
        writeln!(
            out,
            "{past} {count} sectors ({}) from sector {first} on",
            sectors(count)
        )
    })
}

/// Asks on the terminal. The question goes to standard error output, so that it is seen whatever becomes of the other one.
fn confirm<C: Calls>(calls: &mut C, device: &str, action: Action, size: u64) -> Result<(), Failure> {
    if !calls.is_terminal(Descriptor::STDIN) {
        return Err(Failure::NoTerminal);
    }
    let mut question = Output::new(calls, Descriptor::STDERR);
    let verb = action.verb();
    // An error of the output comes back from the flush.
    let _ = fmt::Write::write_fmt(
        &mut question,
        format_args!("{verb} all {size} sectors ({}) of {device}? [y/N] ", sectors(size)),
    );
    question.flush().map_err(Failure::Output)?;
    let mut answer = [0; 64];
    let length = calls.read(Descriptor::STDIN, &mut answer).map_err(Failure::Input)?;
    let answer = answer.get(..length).unwrap_or(&[]).trim_ascii();
    if answer.eq_ignore_ascii_case(b"y") || answer.eq_ignore_ascii_case(b"yes") {
        Ok(())
    } else {
        Err(Failure::Declined)
    }
}

/// Asks for piece after piece.
fn give_up<C: Calls>(disk: &mut Disk<'_, C>, range: &Range, first: u64, count: u64) -> Result<(), Failure> {
    let mut flags = RangeFlags::empty();
    flags.set(RangeFlags::FORCE, range.force);
    flags.set(RangeFlags::UNMAP, range.action == Action::Zero { unmap: true });
    let mut done = 0;
    while done < count {
        let asked = PIECE_SECTORS.min(count - done);
        let mut request = RangeRequest::new(flags, first + done, asked);
        if let Err(errno) = disk.exchange(range.action.code(), &mut request) {
            return Err(why(disk, range.action, &request, done, errno));
        }
        if request.done != asked {
            let told = request.done;
            return Err(Failure::ShortRange { asked, told });
        }
        done += asked;
    }
    Ok(())
}

/// Why the service refused a piece. The range is inside and the versions are the same.
fn why<C: Calls>(disk: &mut Disk<'_, C>, action: Action, piece: &RangeRequest, done: u64, errno: Errno) -> Failure {
    let what = action.verb();
    match errno {
        Errno::EACCES => Failure::ReadOnly,
        Errno::EOPNOTSUPP => Failure::NotOffered(what),
        Errno::EBUSY => Failure::Busy { done },
        Errno::ENOTTY => disk.unless_unknown(errno, what),
        errno => {
            // Whole blocks are the only rule that was not checked before.
            let block: Result<u32, Errno> = disk.tell(IoctlCode::DIOCGSECTORSIZE);
            let block_sectors = block.map_or(0, |bytes| u64::from(bytes) / SECTOR_BYTES);
            let is_whole = |number: u64| block_sectors == 0 || number.is_multiple_of(block_sectors);
            if errno == Errno::EINVAL && !(is_whole(piece.first) && is_whole(piece.count)) {
                return Failure::NotWholeBlocks { block_sectors };
            }
            Failure::Range {
                what,
                first: piece.first,
                last: piece.first + piece.count - 1,
                done,
                errno,
            }
        }
    }
}
