//! The witness tells the truth: what is on the disk is what it was promised, whenever the power goes, and a disk that loses a write or
//! a flush is found by it.

use fake_minix::{Change, Transfer};
use guest_protocol::{Ask, Fate, Record};
use power_cut::{Clock, Content, Event, History, Judge, Step, Tally, Violation};
use test_clients::witness;

use crate::served::{Bug, Minix, SMALL};

const WORDS: &str = "label=disk client=3 first=1000 count=64 ops=600 timeout=200";

/// Everything that was reported, and that all of it has reached the medium.
fn history(minix: &Minix) -> History {
    let mut history = History::new();
    for record in minix.records() {
        if let Some(event) = Event::of(&record) {
            history.push(event).unwrap();
        }
    }
    history.push(Event::Left).unwrap();
    history
}

/// Judges what is on the disk.
fn judged(minix: &Minix) -> Result<Tally, Violation> {
    let history = history(minix);
    let promises = history.promises();
    let content = minix.content.borrow();
    let write = |&sector: &u64| Step::Write {
        first: sector,
        contents: vec![Content::of(sector, &content.read(sector))],
        durable: false,
    };
    let mut steps: Vec<Step> = content.written.keys().map(write).collect();
    steps.push(Step::Flush { covers: steps.len() });
    let clock = Clock::at_the_end(steps.len(), &history);
    Judge::new(&history, &promises, &steps, &clock).all()
}

#[test]
fn what_a_witness_was_told_is_on_the_disk() {
    for (words, deaths) in [
        ("depth=1", 0),
        ("depth=8", 0),
        ("depth=4 closes", 0),
        ("depth=2 closes", 23),
    ] {
        let bug = if deaths == 0 { Bug::None } else { Bug::DiesEvery(deaths) };
        let minix = Minix::new(SMALL, bug);
        let result = minix.run(witness::main, &format!("{WORDS} {words}"));
        assert_eq!(result, Some(Ok(())), "{words}: {:?}", minix.failures());
        let history = history(&minix);
        assert!(history.answered(Ask::Write) > 50 && history.answered(Ask::Force) > 30);
        assert_eq!(history.answered(Ask::Close) > 10, words.ends_with("closes"), "{words}");
        assert_eq!(history.ended(Fate::Lost) > 10, deaths > 0, "{words}");
        let asked = minix
            .records()
            .into_iter()
            .filter(|record| matches!(record, Record::Asked { .. }));
        let heard = minix
            .records()
            .into_iter()
            .filter(|record| matches!(record, Record::Heard { .. }));
        assert_eq!(asked.count(), heard.count(), "{words}");
        assert_eq!(judged(&minix).err(), None, "{words}");
        minix.verify_disk();
    }
}

#[test]
fn a_write_that_the_disk_loses_is_found() {
    let loses = |transfer: &mut Transfer| {
        if transfer.write
            && (transfer.first..)
                .zip(transfer.data.chunks(512))
                .any(|(sector, _)| sector == 1030)
        {
            transfer.data.clear();
        }
    };
    let minix = Minix::new(SMALL, Bug::Disk(loses));
    assert_eq!(minix.run(witness::main, &format!("{WORDS} depth=1")), Some(Ok(())));
    let violation = judged(&minix).unwrap_err();
    assert!(violation.promised.is_some(), "{violation}");
}

/// What a disk with a volatile cache was told, in its order.
fn steps(minix: &Minix) -> Vec<Step> {
    let content = minix.content.borrow();
    let changes = content.changes.as_ref().expect("they were kept");
    let steps = changes.iter().map(|change| match change {
        Change::Sectors { first, bytes, .. } => {
            let sectors = (*first..).zip(bytes.as_chunks().0);
            Step::Write {
                first: *first,
                contents: sectors.map(|(sector, bytes)| Content::of(sector, bytes)).collect(),
                durable: false,
            }
        }
        Change::Flushed { covers } => Step::Flush { covers: *covers },
    });
    steps.collect()
}

/// A lost flush is the bug that was put in on purpose for the judge of power cuts.
#[test]
fn what_a_witness_was_told_outlasts_every_power_cut() {
    for (words, deaths) in [("depth=1 closes", 0), ("depth=4", 0), ("depth=2 closes", 23)] {
        let bug = if deaths == 0 { Bug::None } else { Bug::DiesEvery(deaths) };
        let minix = Minix::new(SMALL, bug);
        minix.content.borrow_mut().changes = Some(Vec::new());
        let result = minix.run(witness::main, &format!("{WORDS} {words}"));
        assert_eq!(result, Some(Ok(())), "{words}: {:?}", minix.failures());
        let (history, steps) = (history(&minix), steps(&minix));
        let (promises, clock) = (history.promises(), Clock::of_contents(&steps, &history));
        let judge = || Judge::new(&history, &promises, &steps, &clock);
        let tally = judge().all();
        assert!(
            tally.as_ref().is_ok_and(|tally| tally.promised > 1000),
            "{words}: {tally:?}"
        );
        let (mut lost, mut noticed) = (judge(), 0);
        loop {
            if matches!(steps.get(lost.cut()), Some(Step::Flush { .. })) {
                noticed += usize::from(lost.clone().lose_flush().is_err());
            }
            if !lost.step().expect("seen above") {
                break;
            }
        }
        assert!(noticed > 10, "{words}: the loss of {noticed} flushes is noticed");
    }
}
