//! The judgement of a run: the log of the disk's writes against what the witnesses told.

use std::path::Path;

use anyhow::{Context, Result};
use fastrand::Rng;
use guest_protocol::{Ask, Fate, Record, SECTOR_BYTES};
use power_cut::{Clock, Event, History, Image, Judge, Log, Pick, Promise, Replay, Step, Tally, of_log};
use serde::Serialize;

use crate::disk::Disk;
use crate::report::{Guest, records};

/// Images that are made of a cut in which one write is missing, of those in which any are, and of those that are torn.
const MISSING: usize = 8;
const SOME: u64 = 8;
const TORN: u64 = 8;

/// Least of each answer that a run must have, or it shows nothing.
const LEAST: [(Ask, usize); 5] = [
    (Ask::Write, 30),
    (Ask::Force, 10),
    (Ask::Flush, 2),
    (Ask::Zero, 1),
    (Ask::Discard, 1),
];

/// What was judged, and what was found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Judged {
    /// Everything against the run.
    pub(crate) findings: Vec<String>,
    figures: Vec<(&'static str, u64)>,
}

impl Judged {
    /// Names and values, in the order in which they are shown.
    pub(crate) fn figures(&self) -> Vec<(&'static str, u64)> {
        self.figures.clone()
    }

    /// The value of a figure.
    #[cfg(test)]
    fn figure(&self, name: &str) -> Option<u64> {
        let mut figures = self.figures.iter();
        figures.find(|(found, _)| *found == name).map(|(_, value)| *value)
    }
}

/// How the service says that it resets its device.
const RESET: &str = "it is reset, with ";

/// Judges a run that has ended. `text` is what the guest printed for people. `points` is at how many cuts images are made, which `seed` draws.
pub(crate) fn examine(
    (guest, text): (&Guest, &str),
    log: &Path,
    disk: &Disk,
    directory: &Path,
    (points, seed): (u64, u64),
) -> Result<Judged> {
    let bytes = std::fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let log = match Log::parse(&bytes) {
        Ok(log) => log,
        Err(error) => {
            return Ok(Judged {
                findings: vec![format!("the log of writes: {error}")],
                ..Judged::default()
            });
        }
    };
    let mut judged = judge(guest, &log, (points, seed));
    let resets = text.matches(RESET).count();
    judged.figures.push(("resets of the device meanwhile", resets as u64));
    if resets == 0 {
        judged.findings.push("the device was never reset".to_owned());
    }
    // The other side of the comparison, with all writes there: the file that QEMU has written.
    let mut replay = Replay::new();
    log.entries.iter().for_each(|entry| replay.take(entry));
    let image = replay.image(Pick::All);
    let differing = differing(&image, disk, directory)?;
    judged
        .figures
        .push(("sectors that the whole log and the disk have alike", {
            (image.sectors.len() - differing.len()) as u64
        }));
    if let Some(sector) = differing.first() {
        let count = differing.len();
        judged.findings.push(format!(
            "sector {sector} of the disk is not what the log says, and neither are {} more",
            count - 1
        ));
    }
    Ok(judged)
}

/// The sectors that an image and the disk do not have alike.
fn differing(image: &Image, disk: &Disk, directory: &Path) -> Result<Vec<u64>> {
    let mut differing = Vec::new();
    for (&sector, bytes) in &image.sectors {
        let range = guest_protocol::SectorRange {
            first: sector,
            count: 1,
        };
        let (mut on_disk, mut before) = ([0; SECTOR_BYTES], [0; SECTOR_BYTES]);
        disk.after(range, directory)?.read(sector, &mut on_disk)?;
        let wanted = match bytes {
            Some(bytes) => bytes,
            None => {
                disk.before(range, directory)?.read(sector, &mut before)?;
                &before
            }
        };
        if on_disk != *wanted {
            differing.push(sector);
        }
    }
    Ok(differing)
}

/// Judges a log against what was reported.
fn judge(guest: &Guest, log: &Log<'_>, (points, seed): (u64, u64)) -> Judged {
    let mut judged = Judged::default();
    let history = history(guest, &mut judged.findings);
    let steps = of_log(log);
    if log.uncounted > 0 {
        judged
            .findings
            .push(format!("{} bytes of the log are not counted in it", log.uncounted));
    }
    for (ask, least) in LEAST {
        let count = history.answered(ask);
        if count < least {
            judged
                .findings
                .push(format!("{count} answers to {ask:?} alone, wanted {least}"));
        }
    }
    let promises = history.promises();
    let clock = Clock::of_contents(&steps, &history);
    let tally = match Judge::new(&history, &promises, &steps, &clock).all() {
        Ok(tally) => tally,
        Err(violation) => {
            judged.findings.push(violation.to_string());
            return judged;
        }
    };
    let images = match images(log, &history, &promises, &steps, &clock, points, seed) {
        Ok(images) => images,
        Err(violation) => {
            judged.findings.push(violation);
            return judged;
        }
    };
    let flushes = flushes(&steps);
    let noticed = noticed(Judge::new(&history, &promises, &steps, &clock), &flushes);
    let none = without(&steps, &flushes);
    let none_is_noticed = Judge::new(&history, &promises, &none, &clock).all().is_err();
    if noticed == 0 || !none_is_noticed {
        judged
            .findings
            .push("the loss of a flush is not noticed: the run shows nothing".to_owned());
    }
    let Tally {
        cuts,
        contents,
        most_open,
        promised,
    } = tally;
    let kills = records!(guest, Record::Restarted { .. } => ()).count();
    judged.figures = vec![
        ("steps in the log", steps.len() as u64),
        (
            "writes, zeroes and discards in it",
            (steps.len() - flushes.len()) as u64,
        ),
        ("flushes in it", flushes.len() as u64),
        ("requests answered", history.ended(Fate::Done) as u64),
        ("requests lost with a service", history.ended(Fate::Lost) as u64),
        ("restarts of the service meanwhile", kills as u64),
        ("forced writes answered", history.answered(Ask::Force) as u64),
        ("flushes answered", history.answered(Ask::Flush) as u64),
        ("writes that were promised", promises.len() as u64),
        ("power cuts judged, with every combination of lost writes", cuts),
        ("contents of sectors judged in them", contents),
        ("promises of sectors held against them", promised),
        ("most sectors whose content was open at a cut", most_open as u64),
        ("images made and judged by their bytes", images),
        ("flushes whose loss would be noticed", noticed as u64),
    ];
    judged
}

/// What the witnesses reported, in order.
fn history(guest: &Guest, findings: &mut Vec<String>) -> History {
    let mut history = History::new();
    for reported in &guest.records {
        let Some(event) = Event::of(&reported.record) else {
            continue;
        };
        if let Err(error) = history.push(event) {
            findings.push(error.to_string());
        }
    }
    history
}

/// Where the flushes are.
fn flushes(steps: &[Step]) -> Vec<usize> {
    let places = steps.iter().enumerate();
    places
        .filter(|(_, step)| matches!(step, Step::Flush { covers: 1.. }))
        .map(|(place, _)| place)
        .collect()
}

/// Of how many flushes the loss would be noticed, each by itself.
fn noticed(mut judge: Judge<'_>, flushes: &[usize]) -> usize {
    let mut noticed = 0;
    loop {
        if flushes.contains(&judge.cut()) {
            noticed += usize::from(judge.clone().lose_flush().is_err());
        }
        if !matches!(judge.step(), Ok(true)) {
            return noticed;
        }
    }
}

/// The same steps, in which some flushes do nothing.
fn without(steps: &[Step], flushes: &[usize]) -> Vec<Step> {
    let mut steps = steps.to_vec();
    for &place in flushes {
        steps[place] = Step::Flush { covers: 0 };
    }
    steps
}

/// Makes images at some cuts and judges their bytes. Returns how many.
fn images(
    log: &Log<'_>,
    history: &History,
    promises: &[Promise],
    steps: &[Step],
    clock: &Clock,
    points: u64,
    seed: u64,
) -> Result<u64, String> {
    let mut random = Rng::with_seed(seed);
    let chance = points as f64 / (steps.len() + 1) as f64;
    let mut judge = Judge::new(history, promises, steps, clock);
    let mut replay = Replay::new();
    let mut made = 0;
    loop {
        let cut = judge.cut();
        if random.f64() < chance {
            let missing = (0..replay.cached()).map(Pick::Without).take(MISSING);
            let some = (0..SOME).map(|_| Pick::Some(random.u64(..)));
            let mut picks: Vec<Pick> = [Pick::None, Pick::All].into_iter().chain(missing).chain(some).collect();
            picks.extend((0..TORN).map(|_| Pick::Torn(random.u64(..))));
            for pick in picks {
                let outcome = judge.image(&replay.image(pick));
                outcome.map_err(|violation| format!("{violation} (an image of {pick:?})"))?;
                made += 1;
            }
        }
        if !judge.step().map_err(|violation| violation.to_string())? {
            return Ok(made);
        }
        replay.take(&log.entries[cut]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guest_protocol::{LINE_BYTES, SectorRange, pattern, witness};
    use power_cut::Entry;

    use super::*;

    /// A witness whose requests are served one after the other, and the log of what reached the disk.
    #[derive(Default)]
    struct Play {
        guest: Guest,
        /// The first sector and the data; none for a flush.
        log: Vec<Option<(u64, Vec<u8>)>>,
        number: u32,
    }

    impl Play {
        fn report(&mut self, record: &Record<'_>) {
            self.guest.hear(Duration::ZERO, record.line(&mut [0; LINE_BYTES]));
        }

        fn ask(&mut self, ask: Ask, flushes: bool) {
            self.number += 1;
            let (client, number) = (1, self.number);
            let count = match ask {
                Ask::Open | Ask::Close | Ask::Flush => 0,
                _ => 1 + u64::from(number % 3),
            };
            let range = SectorRange {
                first: 100 + u64::from(number % 7),
                count,
            };
            self.report(&Record::Asked {
                client,
                number,
                driver: 5,
                ask,
                range,
            });
            if count > 0 {
                let mut data = vec![0; count as usize * SECTOR_BYTES];
                if matches!(ask, Ask::Write | Ask::Force) {
                    pattern::fill(witness::seed(client, number), range.first, &mut data);
                }
                self.log.push(Some((range.first, data)));
            }
            if flushes {
                self.log.push(None);
            }
            let fate = Fate::Done;
            self.report(&Record::Heard { client, number, fate });
        }

        /// A service that flushes for everything that makes a promise, but for `lazy`.
        fn with(lazy: Option<Ask>) -> Play {
            let mut play = Play::default();
            for round in 0..48 {
                let last = [Ask::Flush, Ask::Zero, Ask::Discard, Ask::Close][round % 4];
                for ask in [Ask::Write, Ask::Force, Ask::Write, last] {
                    let promises = matches!(ask, Ask::Force | Ask::Flush | Ask::Close);
                    play.ask(ask, promises && lazy != Some(ask));
                }
            }
            play
        }

        fn judged(&self) -> Judged {
            let entry = |step: &'_ Option<(u64, Vec<u8>)>| match step {
                Some((first, data)) => Entry::Write {
                    first: *first,
                    // A log of a test lives as long as the test.
                    data: data.clone().leak(),
                    durable: false,
                },
                None => Entry::Flush,
            };
            let log = Log {
                entries: self.log.iter().map(entry).collect(),
                uncounted: 0,
            };
            judge(&self.guest, &log, (60, 3))
        }
    }

    #[test]
    fn a_service_that_keeps_its_promises_passes() {
        let judged = Play::with(None).judged();
        assert_eq!(judged.findings, [""; 0]);
        let figure = |name| judged.figure(name).unwrap();
        assert_eq!(figure("requests answered"), 48 * 4);
        assert_eq!(figure("flushes in it"), 48 + 24);
        assert_eq!(
            figure("power cuts judged, with every combination of lost writes"),
            figure("steps in the log") + 1
        );
        assert!(figure("images made and judged by their bytes") > 500);
        assert!(figure("flushes whose loss would be noticed") > 40);
    }

    #[test]
    fn a_service_without_one_kind_of_flush_is_found() {
        for (lazy, reason) in [
            (Ask::Force, "was forced"),
            (Ask::Flush, "was flushed by request"),
            (Ask::Close, "was flushed by the last close"),
        ] {
            let findings = Play::with(Some(lazy)).judged().findings;
            assert!(
                findings.iter().any(|text| text.contains(reason)),
                "{lazy:?}: {findings:?}"
            );
        }
    }

    #[test]
    fn a_write_that_comes_again_after_a_newer_one_is_found() {
        let mut play = Play::with(None);
        let old = play.log[0].clone();
        play.log.push(old);
        let findings = play.judged().findings;
        assert!(
            findings[0].contains("what request 1 of witness 1 wrote"),
            "{findings:?}"
        );
    }

    #[test]
    fn a_sector_that_no_request_wrote_is_found() {
        let mut play = Play::with(None);
        let strange = |step: &mut Option<(u64, Vec<u8>)>| {
            step.as_mut().is_some_and(|(_, data)| {
                data[1] ^= 1;
                true
            })
        };
        assert!(play.log.iter_mut().any(strange));
        let findings = play.judged().findings;
        assert!(findings[0].contains("what no request wrote"), "{findings:?}");
    }

    #[test]
    fn a_run_with_few_answers_shows_nothing() {
        let mut play = Play::default();
        play.ask(Ask::Write, true);
        let findings = play.judged().findings;
        assert!(
            findings.iter().any(|text| text.contains("1 answers to Write alone")),
            "{findings:?}"
        );
        assert!(findings.iter().any(|text| text.contains("not noticed")), "{findings:?}");
    }
}
