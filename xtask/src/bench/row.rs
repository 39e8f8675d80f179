//! A row of the result: one measurement of one contender.

use native_bench::Paired;
use serde::{Deserialize, Serialize};

/// One measurement. What was not measured is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// `ours`, `virtio-drivers`, `raw`; `minix` (the path of MINIX without the kernel), `minix-service` and
    /// `minix-watch` (in the test kernel);
    /// natively `ours-native` and `virtio-driver`.
    pub(crate) contender: String,
    /// `read`, `write`, `mixed`, `gather`, `idle-poll`, ...
    pub(crate) operation: String,
    /// Requests in flight.
    pub(crate) depth: u32,
    /// Segments of a request.
    pub(crate) segments: u32,
    /// Bytes of a request.
    pub(crate) bytes: u32,
    /// `polled`, `interrupts` or `blocking`.
    pub(crate) mode: String,
    /// `direct`, `indirect`, or `either` if it is decided for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chains: Option<String>,
    /// The type of buffer: `handle` (eight bytes), `dma-buffer` or `list`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) buffer: Option<String>,
    /// `submit`, `publish`, `pop`, `decode`, ...; absent for the whole request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    /// Instructions that the driver takes for a request. Waiting is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions_per_request: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notifies_per_request: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interrupts_per_request: Option<f64>,
    /// Calls to the kernel for a request: all of them, or those at the end of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calls_per_request: Option<f64>,
    /// The rate as a share of that of the raw ring in the same round: the median of the rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_to_raw: Option<f64>,
    /// The quartiles of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_spread: Option<[f64; 2]>,
    /// Requests per second: the median of the rounds. It depends on the machine; ratios are what to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// From submitting a request to having its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency_micros: Option<Latency>,
    /// The share of one hart that the driver takes while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_share: Option<f64>,
    /// The share of one hart that watches take which find nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vain_share: Option<f64>,
    /// The share of watches that find a completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) watch_hits: Option<f64>,
    /// Natively: the rate as a share of that of `virtio-driver` in the same round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate_to_other: Option<Paired>,
    /// Natively: nanoseconds within the driver for each request, the median of the rounds. Polls that find nothing are not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) busy_nanos: Option<f64>,
    /// Natively: that time as a share of that of `virtio-driver` in the same round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) busy_to_other: Option<Paired>,
    /// Bytes of code of a program. Its row has no request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text_bytes: Option<u64>,
    /// Bytes of constants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rodata_bytes: Option<u64>,
    /// Bytes of memory that the program has for good: data and stack excluded what is allocated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ram_bytes: Option<u64>,
}

impl Row {
    /// Whether this is about requests of the same kind.
    pub(crate) fn is_of(&self, other: &Row) -> bool {
        let key = |row: &Row| (row.depth, row.segments, row.bytes);
        key(self) == key(other)
            && self.contender == other.contender
            && self.operation == other.operation
            && self.mode == other.mode
            && self.chains == other.chains
            && self.buffer == other.buffer
    }

    /// Whether this tells the instructions of the whole of such a request.
    pub(crate) fn is_whole_of(&self, request: &Row) -> bool {
        self.stage.is_none() && self.instructions_per_request.is_some() && self.is_of(request)
    }
}

/// How latencies are distributed, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    /// The histogram, shortest first; may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) buckets: Vec<Bucket>,
}

/// A bucket of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Where it ends, in microseconds; it begins where the one before ends.
    pub(crate) below: f64,
    /// Latencies in it.
    pub(crate) count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_left_out() {
        let row = Row {
            contender: "raw".into(),
            operation: "read".into(),
            depth: 1,
            segments: 1,
            bytes: 4096,
            mode: "polled".into(),
            ratio_to_raw: Some(1.0),
            ..Row::default()
        };
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(
            text,
            r#"{"contender":"raw","operation":"read","depth":1,"segments":1,"bytes":4096,"mode":"polled","ratio_to_raw":1.0}"#
        );
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
    }
}
