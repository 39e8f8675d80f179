//! How long clients of the MINIX service wait, by how it watches its device.
//!
//! The test kernel makes interrupts as late as those of the real system. Each round is a boot in which the policies have
//! their turn, in another order each time. What is told of them is the median of the rounds.
//!
//! These boots have a disk that does nothing, where little can be gained by more requests at once. In a second kind two clients share
//! a disk that takes as long as those of the real system, and does many requests at once. A third kind has disks of all speeds, and
//! tells what the service takes of a hart to watch them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_protocol::Record;
use testkernel::scenario::{Program, Statement};

use super::guest::latency;
use super::row::{Latency, Row};
use super::service::{CLIENT, MAJOR, Plan, boot, lines_of};
use crate::minix::programs::{Programs, SERVICE};
use crate::minix::scenario::Extras;
use crate::progress::Progress;
use crate::report::{Guest, records};

/// What the rows are called.
pub(super) const CONTENDER: &str = "minix-watch";
/// Two clients with a request each at a time: at a disk that does nothing, and at the one that takes [`SHARED_MICROS`].
pub(super) const PAIR: &str = "pair";
pub(super) const SHARED: &str = "pair-200us";

/// The policies: what the service decides by itself, the fixed time of before, and what a driver does that waits in a loop.
pub(super) const ADAPTIVE: &str = "adaptive";
pub(super) const FIXED: &str = "50us";
pub(super) const SPINNING: &str = "spinning";
const POLICIES: [(&str, &str); 3] = [
    (ADAPTIVE, "log=warn"),
    (FIXED, "log=warn poll_us=50"),
    (SPINNING, "log=warn poll_us=10000 poll_share=100"),
];
/// The policies for the disk that two clients share. Counters are told.
const SHARERS: [(&str, &str); 2] = [
    (ADAPTIVE, "log=info"),
    (SPINNING, "log=info poll_us=10000 poll_share=100"),
];

const SIZES: [u32; 4] = [4 << 10, 64 << 10, 256 << 10, 1 << 20];
const OPERATIONS: [&str; 2] = ["read", "write"];
/// Reports of a turn: a client for each operation, with each size, and two clients at once.
const REPORTS: usize = OPERATIONS.len() * SIZES.len() + 2;
/// Seeds the times by which interrupts are late.
const SEED: u64 = 0x1a7e;
/// Microseconds that the disk takes which two clients share. On the real system a request takes about that.
const SHARED_MICROS: u64 = 200;
/// Microseconds that a disk takes for a request, and how many requests it gets.
const PACED: [(u64, u64); 5] = [(20, 4000), (200, 2000), (2000, 800), (50_000, 80), (100_000, 40)];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Requests of each measurement.
    pub(crate) ops: u64,
    /// A disk that is watched by itself gets one in so many of its requests.
    pub(crate) paced_part: u64,
}

/// Boots for one round after the other, and then for each speed of disk.
pub(crate) fn measure(
    scratch: &Path,
    qemu: &Path,
    programs: &Programs,
    effort: Effort,
    limit: Duration,
    progress: Progress,
) -> Result<Vec<Row>> {
    let mut reports = Vec::new();
    for round in 0..effort.rounds {
        let mut order = POLICIES;
        order.rotate_left(round % POLICIES.len());
        let plan = Plan {
            heading: &format!("watching the device, round {}", round + 1),
            script: &script(&order, effort.ops),
            extras: Extras::default(),
            latency: Duration::ZERO,
        };
        let (guest, _) = boot(scratch, qemu, programs, &plan, limit, progress)?;
        reports.extend(reports_of(&guest, &order)?);
        let mut order = SHARERS;
        order.rotate_left(round % SHARERS.len());
        let plan = Plan {
            heading: &format!("two clients of a disk of {SHARED_MICROS} us, round {}", round + 1),
            script: &shared_script(&order, 2 * effort.ops),
            extras: Extras::default(),
            latency: Duration::from_micros(SHARED_MICROS),
        };
        let (guest, console) = boot(scratch, qemu, programs, &plan, limit, progress)?;
        reports.extend(shared_reports(&guest, &console, &order)?);
    }
    let mut rows = medians(&reports);
    for (micros, ops) in PACED {
        let ops = (ops / effort.paced_part).max(1);
        let plan = Plan {
            heading: &format!("watching a disk of {micros} us"),
            script: &paced_script(ops),
            extras: Extras::default(),
            latency: Duration::from_micros(micros),
        };
        let (guest, console) = boot(scratch, qemu, programs, &plan, limit, progress)?;
        rows.push(paced_row(micros, &guest, &console)?);
    }
    Ok(rows)
}

fn program(program: &str, label: String, arguments: String) -> Program<String> {
    Program {
        program: program.to_owned(),
        label,
        arguments,
    }
}

fn client(number: usize, words: &str) -> Program<String> {
    program(
        CLIENT,
        format!("{CLIENT}{number}"),
        format!("label={SERVICE} minor=0 {words}"),
    )
}

fn service(words: &str) -> Statement<String> {
    Statement::Service(program(SERVICE, SERVICE.to_owned(), words.to_owned()), MAJOR)
}

/// The statements of a round.
fn script(order: &[(&str, &str)], ops: u64) -> String {
    let mut statements = vec![Statement::LateInterrupts(SEED)];
    let mut clients = 1..;
    let mut client = |words: &str| client(clients.next().unwrap_or_default(), words);
    for (_, words) in order {
        statements.push(service(words));
        for operation in OPERATIONS {
            let words = SIZES.map(|bytes| format!("{operation}=1:1:{bytes}:{ops}"));
            statements.push(Statement::Run(client(&words.join(" "))));
        }
        statements.extend(two_at_once(&mut client, ops));
    }
    lines_of(&statements)
}

/// The statements of a round with two clients.
fn shared_script(order: &[(&str, &str)], ops: u64) -> String {
    let mut statements = vec![Statement::LateInterrupts(SEED)];
    let mut clients = 1..;
    let mut client = |words: &str| client(clients.next().unwrap_or_default(), words);
    for (_, words) in order {
        statements.push(service(words));
        statements.extend(two_at_once(&mut client, ops));
    }
    lines_of(&statements)
}

/// Two clients, and the end of the service.
fn two_at_once(mut client: impl FnMut(&str) -> Program<String>, ops: u64) -> [Statement<String>; 4] {
    let words = format!("read=1:1:{}:{ops}", SIZES[0]);
    [
        Statement::Start(client(&words)),
        Statement::Start(client(&words)),
        Statement::Wait,
        Statement::Down(SERVICE.to_owned()),
    ]
}

fn paced_script(ops: u64) -> String {
    lines_of(&[
        Statement::LateInterrupts(SEED),
        service("log=info"),
        Statement::Run(client(1, &format!("read=1:1:{}:{ops}", SIZES[0]))),
        Statement::Down(SERVICE.to_owned()),
    ])
}

/// The reports of the clients of a boot, as rows.
fn clients_of(guest: &Guest) -> Vec<Row> {
    let rows = records!(guest, Record::Requests { operation, depth, segments, bytes, ops, micros, nanos, buckets, .. } => Row {
        contender: CONTENDER.to_owned(),
        operation: operation.to_owned(),
        depth,
        segments,
        bytes,
        rate: Some(ops as f64 * 1e6 / micros.max(1) as f64),
        latency_micros: Some(Latency { buckets: Vec::new(), ..latency(nanos, &buckets) }),
        ..Row::default()
    });
    rows.collect()
}

/// What the clients of a round reported.
fn reports_of(guest: &Guest, order: &[(&str, &str)]) -> Result<Vec<Row>> {
    let rows = clients_of(guest);
    if rows.len() != order.len() * REPORTS {
        bail!("{} of {} measurements were reported", rows.len(), order.len() * REPORTS);
    }
    let mut reports = Vec::new();
    for (turn, (mode, _)) in rows.chunks(REPORTS).zip(order) {
        let (alone, pair) = turn.split_at(REPORTS - 2);
        let mode_of = |row: &Row| Row {
            mode: (*mode).to_owned(),
            ..row.clone()
        };
        reports.extend(alone.iter().map(mode_of));
        reports.push(both(PAIR, mode, pair));
    }
    Ok(reports)
}

/// What the clients of a round reported that share a disk. A service that spins has one request at a time, or the comparison is
/// with something else.
fn shared_reports(guest: &Guest, console: &str, order: &[(&str, &str)]) -> Result<Vec<Row>> {
    let rows = clients_of(guest);
    let most: Vec<&str> = console.split("max_jobs=").skip(1).collect();
    if (rows.len(), most.len()) != (2 * order.len(), order.len()) {
        bail!(
            "{} clients and {} services of {} reported",
            rows.len(),
            most.len(),
            order.len()
        );
    }
    let turns = rows.chunks(2).zip(most).zip(order);
    let report = |((pair, most), (mode, _)): ((&[Row], &str), &(&str, &str))| {
        if *mode == SPINNING && !most.starts_with("1 ") {
            bail!("a service that spins has had more than one request at a time");
        }
        Ok(both(SHARED, mode, pair))
    };
    turns.map(report).collect()
}

/// The row of clients that were there at once.
fn both(operation: &str, mode: &str, clients: &[Row]) -> Row {
    Row {
        operation: operation.to_owned(),
        mode: mode.to_owned(),
        depth: clients.len() as u32,
        rate: Some(clients.iter().filter_map(|row| row.rate).sum()),
        ..clients.first().cloned().unwrap_or_default()
    }
}

/// A row for each kind of request, with the medians.
fn medians(reports: &[Row]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for report in reports {
        if rows.iter().any(|row| row.is_of(report)) {
            continue;
        }
        let alike: Vec<&Row> = reports.iter().filter(|other| other.is_of(report)).collect();
        let of = |figure: fn(&Latency) -> f64| {
            median(alike.iter().filter_map(|row| row.latency_micros.as_ref()).map(figure))
        };
        rows.push(Row {
            rate: Some(median(alike.iter().filter_map(|row| row.rate))),
            latency_micros: Some(Latency {
                p50: of(|latency| latency.p50),
                p90: of(|latency| latency.p90),
                p99: of(|latency| latency.p99),
                buckets: Vec::new(),
            }),
            ..report.clone()
        });
    }
    rows
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// The row of a disk that is watched by itself: the share of the hart that was watched, and how many watches hit.
fn paced_row(micros: u64, guest: &Guest, console: &str) -> Result<Row> {
    let row = clients_of(guest).pop().context("the client reported nothing")?;
    let count = |name: &str| -> Result<f64> {
        let (_, rest) = console
            .rsplit_once(name)
            .with_context(|| format!("the service did not tell {name}"))?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().with_context(|| format!("{name}{digits} is no number"))
    };
    let watches = count("watches_hit=")? + count("watches_missed=")?;
    let ops: f64 = records!(guest, Record::Requests { ops, .. } => ops as f64).sum();
    // The requests of the warm-up, an eighth as many, are watched as well.
    let passed = ops * 9.0 / 8.0 * 1e6 / row.rate.unwrap_or(1.0);
    Ok(Row {
        operation: format!("read-{micros}us"),
        mode: ADAPTIVE.to_owned(),
        cpu_share: Some((count(" hit_us=")? + count(" missed_us=")?) / passed),
        vain_share: Some(count(" missed_us=")? / passed),
        watch_hits: (watches > 0.0).then_some(count("watches_hit=")? / watches),
        ..row
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guest_protocol::LINE_BYTES;
    use guest_protocol::histogram::BUCKETS;

    use super::*;

    fn request(operation: &'static str, bytes: u32, micros: u64) -> Record<'static> {
        Record::Requests {
            name: "a",
            operation,
            depth: 1,
            segments: 1,
            bytes,
            ops: 100,
            micros: 100 * micros,
            nanos: [micros * 1000; 3],
            buckets: [0; BUCKETS],
        }
    }

    fn guest(records: &[Record<'_>]) -> Guest {
        let mut guest = Guest::default();
        for record in records {
            guest.hear(Duration::ZERO, record.line(&mut [0; LINE_BYTES]));
        }
        guest.end();
        guest
    }

    /// The reports of a boot in which each policy takes that long.
    fn round(order: &[(&str, &str)], micros: [u64; 3]) -> Vec<Row> {
        let turn = |micros| {
            let alone = OPERATIONS
                .into_iter()
                .flat_map(move |operation| SIZES.map(|bytes| request(operation, bytes, micros)));
            alone.chain([(); 2].map(|()| request("read", SIZES[0], micros)))
        };
        let records: Vec<_> = micros.into_iter().flat_map(turn).collect();
        reports_of(&guest(&records), order).unwrap()
    }

    #[test]
    fn turns_are_told_apart_and_medians_taken() {
        let mut reports = round(&POLICIES, [100, 1000, 200]);
        let mut other = POLICIES;
        other.rotate_left(1);
        reports.extend(round(&other, [1100, 210, 110]));
        reports.extend(round(&POLICIES, [120, 1200, 220]));
        let rows = medians(&reports);
        assert_eq!(rows.len(), 3 * (REPORTS - 1));
        let found = |mode: &str, operation: &str| {
            let is = |row: &&Row| row.mode == mode && row.operation == operation && row.bytes == SIZES[0];
            rows.iter().find(is).unwrap().clone()
        };
        let p50 = |mode| found(mode, "write").latency_micros.unwrap().p50;
        assert_eq!([ADAPTIVE, FIXED, SPINNING].map(p50), [110.0, 1100.0, 210.0]);
        let rate = found(ADAPTIVE, PAIR).rate.unwrap();
        assert!((rate - 2.0 * 1e6 / 110.0).abs() < 1.0, "{rate}");
    }

    #[test]
    fn a_shared_disk_has_a_row_for_each_policy_and_a_spinning_service_one_request_at_a_time() {
        let records = [100, 100, 150, 150].map(|micros| request("read", SIZES[0], micros));
        let guest = guest(&records);
        let console = |most: [u32; 2]| {
            most.map(|most| format!("x: max_in_flight=9 max_jobs={most} notifies=1\n"))
                .concat()
        };
        let rows = shared_reports(&guest, &console([2, 1]), &SHARERS).unwrap();
        assert_eq!([&*rows[0].mode, &*rows[1].mode], [ADAPTIVE, SPINNING]);
        assert_eq!(
            [rows[0].rate, rows[1].rate].map(|rate| rate.unwrap().round()),
            [20000.0, 13333.0]
        );
        assert!(rows.iter().all(|row| (&*row.operation, row.depth) == (SHARED, 2)));
        assert!(shared_reports(&guest, &console([2, 2]), &SHARERS).is_err());
        assert!(shared_reports(&guest, &console([2, 11]), &SHARERS).is_err());
        assert!(shared_reports(&guest, "max_jobs=1 ", &SHARERS).is_err());
    }

    #[test]
    fn a_measurement_that_is_missing_is_an_error() {
        assert!(reports_of(&guest(&[request("read", 4096, 1)]), &POLICIES).is_err());
    }

    #[test]
    fn shares_are_those_of_the_time_of_the_requests() {
        let guest = guest(&[request("read", 4096, 1000)]);
        let console = "x: counters: watches_hit=3 watches_missed=1 hit_us=9000 missed_us=2250";
        let row = paced_row(200, &guest, console).unwrap();
        // A hundred of a millisecond, and the warm-up.
        assert_eq!(
            (row.cpu_share, row.vain_share, row.watch_hits),
            (Some(0.1), Some(0.02), Some(0.75))
        );
        assert!(paced_row(200, &guest, "").is_err());
    }
}
