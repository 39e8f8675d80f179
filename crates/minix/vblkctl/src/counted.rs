//! What the service counted, and what was new in a while.

use core::mem::offset_of;

use minix_abi::disk_control::{KINDS, KindReport, StatCounts, StatReport};

/// How many counts there are.
const COUNT: usize = size_of::<StatCounts>() / size_of::<u64>();

/// A count of [`StatCounts`].
#[derive(Debug)]
pub(crate) struct Count {
    /// Its name for programs.
    pub(crate) name: &'static str,
    /// Its name for people.
    pub(crate) label: &'static str,
}

macro_rules! counts {
    ($( $field:ident $label:literal; )*) => {
        /// All counts, in the order in which they are printed, which is that of the fields.
        pub(crate) static COUNTS: [Count; COUNT] = [$(
            Count { name: stringify!($field), label: $label },
        )*];

        const _: () = {
            let mut places = [0; COUNT];
            let mut nth = 0;
            $(
                places[nth] = offset_of!(StatCounts, $field);
                nth += 1;
            )*
            while nth > 0 {
                nth -= 1;
                assert!(places[nth] == nth * size_of::<u64>(), "the order is that of the fields");
            }
        };
    };
}

/// The first counts, so many, tell what is so now. The others only grow.
const GAUGES: usize = 4;

counts! {
    in_flight "device requests in flight now";
    most_in_flight "most device requests in flight";
    unanswered "requests of clients waiting now";
    most_unanswered "most requests of clients waiting";
    requests "requests of clients";
    replies "replies";
    errors "replies with an error";
    reads "reads of clients";
    writes "writes of clients";
    bytes_read "bytes read by clients";
    bytes_written "bytes written by clients";
    no_room "requests sent back for want of room";
    device_requests "device requests";
    merged "transfers merged into another";
    chunks "device requests for a part of one";
    bounced "device requests bounced";
    device_full "times the device had no room";
    notifies "notifications";
    interrupts "interrupts";
    spurious_interrupts "interrupts that brought nothing";
    lost_interrupts "interrupts lost";
    watches_hit "watches hit";
    watches_missed "watches missed";
    flushes "flushes";
    background_flushes "flushes in the background";
    failed_flushes "flushes in the background that failed";
    timeouts "time-outs";
    resets "resets";
    failed_resets "resets that failed";
    replays "replays";
    faults "faults of the virtqueue";
    stray_completions "completions of nothing";
    odd_lengths "odd used lengths";
}

/// The values of all counts, in the order of [`COUNTS`].
pub(crate) fn values(counts: &StatCounts) -> &[u64; COUNT] {
    zerocopy::transmute_ref!(counts)
}

/// What is new of each count that grows, and the others as they are now.
fn counts_since(now: &StatCounts, before: &StatCounts) -> StatCounts {
    let mut new = *values(now);
    for (new, &before) in new.iter_mut().zip(values(before)).skip(GAUGES) {
        *new = more(*new, before);
    }
    zerocopy::transmute!(new)
}

/// What has come to a number that only grows.
const fn more(now: u64, before: u64) -> u64 {
    now.saturating_sub(before)
}

/// What was counted from one moment to another.
#[derive(Debug)]
pub(crate) struct Counted {
    /// Microseconds of the service's clock.
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
    pub(crate) counts: StatCounts,
    pub(crate) kinds: [KindReport; KINDS],
}

impl Counted {
    /// Everything since the service was started.
    pub(crate) const fn all(report: &StatReport) -> Self {
        Self {
            from_us: report.since_us,
            to_us: report.now_us,
            counts: report.counts,
            kinds: report.kinds,
        }
    }

    /// What is new since `before`; everything if that is of another instance of the service.
    pub(crate) fn since(before: &StatReport, now: &StatReport) -> Self {
        if before.since_us != now.since_us {
            return Self::all(now);
        }
        let mut kinds = now.kinds;
        for (kind, before) in kinds.iter_mut().zip(&before.kinds) {
            kind.operations = more(kind.operations, before.operations);
            kind.bytes = more(kind.bytes, before.bytes);
            kind.errors = more(kind.errors, before.errors);
            for (bucket, &before) in kind.latency.iter_mut().zip(&before.latency) {
                *bucket = more(*bucket, before);
            }
        }
        Self {
            from_us: before.now_us,
            to_us: now.now_us,
            counts: counts_since(&now.counts, &before.counts),
            kinds,
        }
    }

    /// Microseconds.
    pub(crate) const fn span_us(&self) -> u64 {
        self.to_us.saturating_sub(self.from_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_stay_and_counts_are_subtracted() {
        let mut before = StatReport {
            since_us: 5,
            now_us: 100,
            ..StatReport::default()
        };
        before.counts.notifies = 7;
        before.counts.in_flight = 3;
        before.kinds[1].bytes = 512;
        before.kinds[1].latency[4] = 1;
        let mut now = before;
        now.now_us = 350;
        now.counts.notifies = 9;
        now.counts.in_flight = 2;
        now.kinds[1].bytes = 2048;
        now.kinds[1].latency[4] = 4;
        let new = Counted::since(&before, &now);
        assert_eq!((new.from_us, new.span_us()), (100, 250));
        assert_eq!((new.counts.notifies, new.counts.in_flight), (2, 2));
        assert_eq!((new.kinds[1].bytes, new.kinds[1].latency[4]), (1536, 3));
    }

    #[test]
    fn of_another_instance_everything_is_new() {
        let mut before = StatReport {
            since_us: 5,
            now_us: 100,
            ..StatReport::default()
        };
        before.counts.notifies = 7;
        let mut now = StatReport {
            since_us: 120,
            now_us: 150,
            ..StatReport::default()
        };
        now.counts.notifies = 9;
        let new = Counted::since(&before, &now);
        assert_eq!((new.from_us, new.span_us(), new.counts.notifies), (120, 30, 9));
    }
}
