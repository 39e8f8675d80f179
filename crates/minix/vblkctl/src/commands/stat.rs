//! `stat`: what was counted since the service was started, or what is new every so often.

use core::fmt;

use minix_abi::disk_control::{BUCKETS, KINDS, Kind, KindReport, StatReport};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::queue::kind_name;
use crate::arguments::Repeat;
use crate::calls::Calls;
use crate::counted::{COUNTS, Counted, values};
use crate::disk::Disk;
use crate::failure::Failure;
use crate::histogram::{end_of, percentile, used};
use crate::json;
use crate::output::{print, text};
use crate::units::{rate, share};

const MIB: u64 = 1 << 20;

/// Lines between two headings.
const LINES: u64 = 20;

pub(super) fn run<C: Calls>(calls: &mut C, device: &str, json: bool, every: Option<Repeat>) -> Result<(), Failure> {
    let mut disk = Disk::open(calls, device)?;
    let mut before: StatReport = disk.report()?;
    let Some(Repeat { interval, count }) = every else {
        let all = Counted::all(&before);
        return if json {
            json::print_object(disk.calls, &Object(&all))
        } else {
            print(disk.calls, format_args!("{}", text(|out| write(out, &all))))
        };
    };
    let mut line: u64 = 0;
    while count.is_none_or(|count| line < count) {
        let slept = disk.calls.sleep(interval);
        slept.map_err(|errno| Failure::Request { what: "wait", errno })?;
        let now: StatReport = disk.report()?;
        let new = Counted::since(&before, &now);
        if json {
            json::print_object(disk.calls, &Object(&new))?;
        } else {
            let anew = if before.since_us == now.since_us {
                ""
            } else {
                "the service was started anew\n"
            };
            let heading = if line.is_multiple_of(LINES) { HEADING } else { "" };
            let new = text(|out| write_line(out, &new));
            print(disk.calls, format_args!("{anew}{heading}{new}"))?;
        }
        before = now;
        line = line.saturating_add(1);
    }
    Ok(())
}

const HEADING: &str = concat!(
    "      r/s   rMiB/s    rp50    rp99      w/s   wMiB/s    wp50    wp99",
    "      f/s  other/s  merge/s bounce/s notify/s    irq/s  hit%",
    " depth wait errors t-outs resets replays\n"
);

/// What is new in one line. Latencies are in microseconds; `hit%` is the share of the watches that found a completion.
fn write_line(out: &mut dyn fmt::Write, new: &Counted) -> fmt::Result {
    let [reads, writes, flushes, others @ ..] = &new.kinds;
    let span = new.span_us();
    for kind in [reads, writes] {
        write!(
            out,
            "{:9} {:8} {:>7} {:>7}",
            rate(kind.operations, 1, span),
            rate(kind.bytes, MIB, span),
            percentile(&kind.latency, 50),
            percentile(&kind.latency, 99)
        )?;
    }
    let other = others
        .iter()
        .fold(0, |sum: u64, kind| sum.saturating_add(kind.operations));
    let counts = &new.counts;
    write!(
        out,
        "{:9} {:8}",
        rate(flushes.operations, 1, span),
        rate(other, 1, span)
    )?;
    for count in [counts.merged, counts.bounced, counts.notifies, counts.interrupts] {
        write!(out, " {:8}", rate(count, 1, span))?;
    }
    let watches = counts.watches_hit.saturating_add(counts.watches_missed);
    writeln!(
        out,
        " {:5} {:>5} {:>4} {:>6} {:>6} {:>6} {:>7}",
        share(counts.watches_hit, watches),
        counts.in_flight,
        counts.unanswered,
        counts.errors,
        counts.timeouts,
        counts.resets,
        counts.replays
    )
}

/// The kinds with their names.
fn named(kinds: &[KindReport; KINDS]) -> impl Iterator<Item = (&'static str, &KindReport)> + Clone {
    (0..).map(|nth| kind_name(Kind(nth))).zip(kinds)
}

fn write(out: &mut dyn fmt::Write, all: &Counted) -> fmt::Result {
    let span = all.span_us();
    writeln!(out, "counted for {} s", crate::units::Seconds(span))?;
    out.write_str("             operations            bytes     errors     ops/s    MiB/s  p50 us  p90 us  p99 us\n")?;
    for (name, kind) in named(&all.kinds) {
        writeln!(
            out,
            "{name:<8} {:>14} {:>16} {:>10} {:9} {:8} {:>7} {:>7} {:>7}",
            kind.operations,
            kind.bytes,
            kind.errors,
            rate(kind.operations, 1, span),
            rate(kind.bytes, MIB, span),
            percentile(&kind.latency, 50),
            percentile(&kind.latency, 90),
            percentile(&kind.latency, 99)
        )?;
    }
    write_histogram(out, &all.kinds)?;
    for (count, value) in COUNTS.iter().zip(values(&all.counts)) {
        writeln!(out, "{:<38} {value:>16}", count.label)?;
    }
    Ok(())
}

/// A line for each bucket, a column for each kind that has latencies, in percent of the kind besides.
fn write_histogram(out: &mut dyn fmt::Write, kinds: &[KindReport; KINDS]) -> fmt::Result {
    let buckets = used(kinds.iter().map(|kind| &kind.latency));
    if buckets.is_empty() {
        return Ok(());
    }
    let shown = || named(kinds).filter(|(_, kind)| kind.latency.iter().any(|&count| count > 0));
    write!(out, "{:>14}", "latency, us")?;
    for (name, _) in shown() {
        write!(out, " {name:>12}       %")?;
    }
    out.write_char('\n')?;
    for nth in buckets {
        if nth + 1 == BUCKETS {
            write!(out, "{:>14}", "longer")?;
        } else {
            write!(out, "{:>3}{:>11}", "<", end_of(nth))?;
        }
        for (_, kind) in shown() {
            let total = kind.latency.iter().fold(0_u64, |sum, &count| sum.saturating_add(count));
            let count = kind.latency.get(nth).copied().unwrap_or(0);
            write!(out, " {count:>12} {:7}", share(count, total))?;
        }
        out.write_char('\n')?;
    }
    Ok(())
}

/// The counts for programs.
struct Object<'a>(&'a Counted);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("from_us", &self.0.from_us)?;
        object.serialize_entry("to_us", &self.0.to_us)?;
        object.serialize_entry("kinds", &Kinds(&self.0.kinds))?;
        object.serialize_entry("counts", &Counts(self.0))?;
        object.end()
    }
}

/// The kinds by name.
struct Kinds<'a>(&'a [KindReport; KINDS]);

/// One kind. Percentiles are the microseconds that they are below, `null` without latencies.
#[derive(serde::Serialize)]
struct KindObject<'a> {
    operations: u64,
    bytes: u64,
    errors: u64,
    p50_below_us: Option<u64>,
    p90_below_us: Option<u64>,
    p99_below_us: Option<u64>,
    latency: &'a [u64; BUCKETS],
}

impl Serialize for Kinds<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(KINDS))?;
        for (name, kind) in named(self.0) {
            object.serialize_entry(
                name,
                &KindObject {
                    operations: kind.operations,
                    bytes: kind.bytes,
                    errors: kind.errors,
                    p50_below_us: percentile(&kind.latency, 50).0,
                    p90_below_us: percentile(&kind.latency, 90).0,
                    p99_below_us: percentile(&kind.latency, 99).0,
                    latency: &kind.latency,
                },
            )?;
        }
        object.end()
    }
}

/// The counts by name.
struct Counts<'a>(&'a Counted);

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(COUNTS.len()))?;
        for (count, value) in COUNTS.iter().zip(values(&self.0.counts)) {
            object.serialize_entry(count.name, value)?;
        }
        object.end()
    }
}
