//! The judge against a reference: all images of a small log, each made and looked at by itself.

use guest_protocol::{Ask, Fate, SECTOR_BYTES, SectorRange, pattern, witness};
use power_cut::{Clock, Entry, Event, History, Judge, Log, Pick, Replay, Request, of_log};
use proptest::prelude::*;

/// What a witness asks for, one after the other. With `lazy` the driver answers and does not flush.
#[derive(Clone, Copy, Debug)]
struct Action {
    ask: Ask,
    first: u64,
    count: u64,
    lazy: bool,
}

const TOLD: &[Ask] = &[Ask::Write, Ask::Write, Ask::Force, Ask::Flush, Ask::Close];
const ALL: &[Ask] = &[
    Ask::Write,
    Ask::Write,
    Ask::Force,
    Ask::Flush,
    Ask::Close,
    Ask::Zero,
    Ask::Discard,
];

fn action(asks: &'static [Ask]) -> impl Strategy<Value = Action> {
    (
        prop::sample::select(asks),
        0..3_u64,
        1..3_u64,
        prop::bool::weighted(0.15),
    )
        .prop_map(|(ask, first, count, lazy)| Action {
            ask,
            first,
            count,
            lazy,
        })
}

/// The history and the log of these actions.
fn play(actions: &[Action]) -> (History, Vec<Entry<'static>>) {
    let (mut history, mut log) = (History::new(), Vec::new());
    for (number, action) in (1..).zip(actions) {
        let request = Request { client: 1, number };
        let is_barrier = matches!(action.ask, Ask::Flush | Ask::Close);
        let range = SectorRange {
            first: action.first,
            count: if is_barrier { 0 } else { action.count },
        };
        let asked = Event::Asked {
            request,
            driver: 1,
            ask: action.ask,
            range,
        };
        history.push(asked).unwrap();
        if range.count > 0 {
            let mut data = vec![0; range.count as usize * SECTOR_BYTES];
            if matches!(action.ask, Ask::Write | Ask::Force) {
                pattern::fill(witness::seed(1, number), range.first, &mut data);
            }
            log.push(Entry::Write {
                first: range.first,
                data: data.leak(),
                durable: false,
            });
        }
        if !action.lazy && (is_barrier || action.ask == Ask::Force) {
            log.push(Entry::Flush);
        }
        let fate = Fate::Done;
        history.push(Event::Heard { request, fate }).unwrap();
    }
    (history, log)
}

/// A sector of a write: its place, and which action wrote it.
#[derive(Clone, Copy, Debug)]
struct Unit {
    sector: u64,
    number: u32,
    flushed: bool,
}

/// Makes every disk that a cut can leave, sector by sector of each write, and says whether one of them breaks a promise. Actions follow
/// each other, so an older content has a smaller number. 0 is the content before the first action.
fn some_disk_is_wrong(actions: &[Action]) -> bool {
    let mut units: Vec<Unit> = Vec::new();
    // What has to be on each sector, or something newer, by what was told.
    let mut told = [0_u32; SECTORS];
    let mut answered: Vec<(u64, u32)> = Vec::new();
    for (number, action) in (1..).zip(actions) {
        let sectors = action.first..action.first + action.count;
        if !matches!(action.ask, Ask::Flush | Ask::Close) {
            // The power goes before this write: all that was told by now has been reported.
            if breaks(&units, &told) {
                return true;
            }
            // A sector of it may be on the medium alone.
            units.extend(sectors.clone().map(|sector| Unit {
                sector,
                number,
                flushed: false,
            }));
            if breaks(&units, &told) {
                return true;
            }
        }
        if !action.lazy && matches!(action.ask, Ask::Flush | Ask::Close | Ask::Force) {
            units.iter_mut().for_each(|unit| unit.flushed = true);
        }
        match action.ask {
            Ask::Write => answered.extend(sectors.map(|sector| (sector, number))),
            Ask::Force => sectors.for_each(|sector| told[sector as usize] = number),
            Ask::Flush | Ask::Close => {
                for (sector, number) in answered.drain(..) {
                    let told = &mut told[sector as usize];
                    *told = number.max(*told);
                }
            }
            _ => {}
        }
    }
    breaks(&units, &told)
}

fn breaks(units: &[Unit], told: &[u32; SECTORS]) -> bool {
    let open: Vec<&Unit> = units.iter().filter(|unit| !unit.flushed).collect();
    (0..1_u32 << open.len()).any(|lost| {
        let mut disk = [0_u32; SECTORS];
        let mut nth = 0;
        for unit in units {
            let is_there = unit.flushed || {
                nth += 1;
                lost >> (nth - 1) & 1 == 0
            };
            if is_there {
                disk[unit.sector as usize] = unit.number;
            }
        }
        disk.iter().zip(told).any(|(found, told)| found < told)
    })
}

const SECTORS: usize = 4;
const LONGEST: usize = 12;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Without zeroes, which do not tell which request wrote them, so that the judge knows less than was told.
    #[test]
    fn the_judge_finds_a_wrong_disk_where_there_is_one(actions in prop::collection::vec(action(TOLD), 1..LONGEST)) {
        let (history, entries) = play(&actions);
        let steps = of_log(&Log { entries, uncounted: 0 });
        let clock = Clock::of_contents(&steps, &history);
        let promises = history.promises();
        let judged = Judge::new(&history, &promises, &steps, &clock).all();
        prop_assert_eq!(judged.is_err(), some_disk_is_wrong(&actions), "{:?}", judged);
    }

    /// Each disk that is made of the log is one that the judge has looked at.
    #[test]
    fn no_disk_that_is_made_is_wrong_where_the_judge_finds_none(actions in prop::collection::vec(action(ALL), 1..40)) {
        let (history, entries) = play(&actions);
        let steps = of_log(&Log { entries: entries.clone(), uncounted: 0 });
        let clock = Clock::of_contents(&steps, &history);
        let promises = history.promises();
        prop_assume!(Judge::new(&history, &promises, &steps, &clock).all().is_ok());
        let (mut judge, mut replay) = (Judge::new(&history, &promises, &steps, &clock), Replay::new());
        for entry in entries.iter().map(Some).chain([None]) {
            let random = (0..6).flat_map(|seed| [Pick::Some(seed), Pick::Torn(seed)]);
            for pick in [Pick::None, Pick::All].into_iter().chain(random) {
                prop_assert_eq!(judge.image(&replay.image(pick)), Ok(()), "{:?}", pick);
            }
            judge.step().unwrap();
            if let Some(entry) = entry {
                replay.take(entry);
            }
        }
    }
}
