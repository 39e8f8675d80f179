//! The program: the single requests, then the storm.

use guest_protocol::{SECTOR_BYTES, SectorRange};
use minix_abi::bdev::BdevAccess;
use minix_abi::minor::Minor;
use minix_abi::{Errno, Status};
use minix_rt::{Args, Fixed, Ipc};

use super::bench::{Bench, LONG_BYTES};
use super::noise::Bounds;
use super::storm::Storm;
use super::{grants, protocol, sizes};
use crate::args::{BadWord, Word};
use crate::bdev::{Session, Trouble};
use crate::client::Client;
use crate::post::{Post, PostTable};
use crate::report::Outcome;

/// Random messages, unless told otherwise.
const MESSAGES: u64 = 10_000;

static TABLE: Fixed<PostTable> = Fixed::new(PostTable::new());

struct Settings {
    label: &'static str,
    minor: Minor,
    seed: u64,
    messages: u64,
    /// Sectors of the minor that may be written; empty if none.
    scratch: SectorRange,
}

impl Settings {
    fn parse(words: impl Iterator<Item = &'static str>) -> Result<Self, BadWord<'static>> {
        let mut settings = Self {
            label: "",
            minor: Minor(0),
            seed: 1,
            messages: MESSAGES,
            scratch: SectorRange::default(),
        };
        for word in words.map(Word::new) {
            match word.key() {
                "label" => settings.label = word.string()?,
                "minor" => settings.minor = word.minor()?,
                "seed" => settings.seed = word.number()?,
                "count" => settings.messages = word.number()?,
                "scratch" => settings.scratch = word.range()?,
                _ => return Err(word.unknown()),
            }
        }
        if settings.label.is_empty() {
            return Err(BadWord::missing("label"));
        }
        Ok(settings)
    }
}

/// The program `abuse`. Its words are `label=`, `minor=`, `seed=`, `count=` (of random messages) and `scratch=FIRST:COUNT`
/// (sectors of the minor that may be written; without it nothing is).
///
/// # Errors
///
/// [`EINVAL`](Errno::EINVAL) for words that make no sense or a minor that is too short, [`EIO`](Errno::EIO) if an answer was
/// wrong.
pub fn main<I: Ipc>(client: &mut Client<I>, args: Args) -> Result<(), Errno> {
    let settings = Settings::parse(args).map_err(|bad| {
        client.error("args", "bad-word", &bad);
        Errno::EINVAL
    })?;
    let minor = settings.minor;
    let mut session = Session::new(client, settings.label, settings.seed)?;
    let both = BdevAccess::READ | BdevAccess::WRITE;
    let (status, place) = session
        .open(client, minor, both)
        .and_then(|status| status.result().map_err(Trouble::Ipc))
        .and_then(|_| session.partition(client, minor))
        .map_err(|trouble| {
            client.error("open", "driver", &trouble);
            Errno::EIO
        })?;
    status.result()?;
    let SectorRange { first, count } = settings.scratch;
    let inside = first
        .checked_add(count)
        .and_then(|end| end.checked_mul(SECTOR_BYTES as u64))
        .is_some_and(|end| end <= place.bytes);
    if !inside || place.bytes < 2 * LONG_BYTES as u64 {
        client.error(
            "args",
            "too-short",
            &format_args!("the minor has {} bytes", place.bytes),
        );
        return Err(Errno::EINVAL);
    }
    if count > 0 {
        client.touched(place.base / SECTOR_BYTES as u64 + first, count);
    }
    let capacity = capacity(client, &mut session).map_err(|trouble| {
        client.error("open", "disk", &trouble);
        Errno::EIO
    })?;
    let bounds = Bounds {
        minor,
        bytes: place.bytes,
        scratch: first * SECTOR_BYTES as u64..(first + count) * SECTOR_BYTES as u64,
    };

    let mut bench = Bench::new(client, session, minor, bounds.bytes, bounds.scratch.clone())?;
    bench.normal_read("normal-read-first");
    sizes::run(&mut bench);
    bench.normal_read("normal-read-after-sizes");
    grants::run(&mut bench);
    bench.normal_read("normal-read-after-grants");
    protocol::run(&mut bench);
    bench.normal_read("normal-read-after-protocol");
    let session = bench.session;

    let post = Post::new(client, session, TABLE.take().ok_or(Errno::EBUSY)?)?;
    let storm = Storm::new(client, post, bounds, capacity, settings.seed)?;
    let (result, mut post) = storm.run(settings.messages);
    client.test(
        "random-messages",
        Outcome::of(result.failures == 0 && result.sent == settings.messages),
        &format_args!(
            "{} sent, {} answered, {} failures",
            result.sent, result.replies, result.failures
        ),
    );
    let closed = post.session().close(client, minor);
    client.test(
        "close",
        Outcome::of(closed == Ok(Status::OK)),
        &format_args!("{closed:?}"),
    );
    if client.tally().failed == 0 {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}

/// The length of the disk in bytes.
fn capacity<I: Ipc>(client: &mut Client<I>, session: &mut Session) -> Result<u64, Trouble> {
    let drive = Minor(0);
    let opened = session.open(client, drive, BdevAccess::READ)?;
    opened.result().map_err(Trouble::Ipc)?;
    let (status, place) = session.partition(client, drive)?;
    status.result().map_err(Trouble::Ipc)?;
    let closed = session.close(client, drive)?;
    closed.result().map_err(Trouble::Ipc)?;
    Ok(place.bytes)
}
