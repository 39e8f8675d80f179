//! What the service counted, and what was new in a while.

use minix_abi::disk_control::{KINDS, KindReport, StatCounts, StatReport};

/// A count of [`StatCounts`]: its name for programs, its name for people, and its value.
pub(crate) struct Count {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) value: fn(&StatCounts) -> u64,
}

macro_rules! counts {
    ($( $field:ident $how:ident $label:literal; )*) => {
        /// All counts, in the order in which they are printed.
        pub(crate) const COUNTS: &[Count] = &[$(
            Count { name: stringify!($field), label: $label, value: |counts| counts.$field },
        )*];

        fn counts_since(now: &StatCounts, before: &StatCounts) -> StatCounts {
            StatCounts { $( $field: $how(now.$field, before.$field), )* }
        }
    };
}

counts! {
    in_flight is "device requests in flight now";
    most_in_flight is "most device requests in flight";
    unanswered is "requests of clients waiting now";
    most_unanswered is "most requests of clients waiting";
    requests more "requests of clients";
    replies more "replies";
    errors more "replies with an error";
    reads more "reads of clients";
    writes more "writes of clients";
    bytes_read more "bytes read by clients";
    bytes_written more "bytes written by clients";
    no_room more "requests sent back for want of room";
    device_requests more "device requests";
    merged more "transfers merged into another";
    chunks more "device requests for a part of one";
    bounced more "device requests bounced";
    device_full more "times the device had no room";
    notifies more "notifications";
    interrupts more "interrupts";
    spurious_interrupts more "interrupts that brought nothing";
    lost_interrupts more "interrupts lost";
    watches_hit more "watches hit";
    watches_missed more "watches missed";
    flushes more "flushes";
    background_flushes more "flushes in the background";
    failed_flushes more "flushes in the background that failed";
    timeouts more "time-outs";
    resets more "resets";
    failed_resets more "resets that failed";
    replays more "replays";
    faults more "faults of the virtqueue";
    stray_completions more "completions of nothing";
    odd_lengths more "odd used lengths";
}

/// What is so now.
const fn is(now: u64, _: u64) -> u64 {
    now
}

/// What only grows.
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
    fn all_counts_are_listed() {
        assert_eq!(COUNTS.len() * size_of::<u64>(), size_of::<StatCounts>());
    }

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
