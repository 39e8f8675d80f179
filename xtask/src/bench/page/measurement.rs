//! Rows of the same configuration as one measurement: its stages beside the whole request.

use native_bench::Paired;

use crate::bench::row::{Latency, Row};

/// The bytes of the request that contenders are compared by.
pub(super) const BYTES: u32 = 4096;

/// The contenders of the native measurement.
pub(super) const NATIVE: [&str; 2] = ["ours-native", "virtio-driver"];

/// How requests were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) contender: String,
    pub(super) operation: String,
    pub(super) depth: u32,
    pub(super) segments: u32,
    pub(super) bytes: u32,
    pub(super) mode: String,
    pub(super) chains: Option<String>,
    pub(super) buffer: Option<String>,
}

/// Everything that was measured of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measurement {
    pub(super) configuration: Configuration,
    /// Instructions of each stage, in the order of the rows.
    pub(super) stages: Vec<(String, f64)>,
    /// Instructions of the whole request: as measured, or else the sum of the stages.
    pub(super) instructions: Option<f64>,
    pub(super) ratio: Option<f64>,
    pub(super) ratio_spread: Option<[f64; 2]>,
    pub(super) latency: Option<Latency>,
    pub(super) cpu_share: Option<f64>,
    /// Natively, as a share of the other driver's: the rate, and the time within the driver.
    pub(super) rate_to_other: Option<Paired>,
    pub(super) busy_to_other: Option<Paired>,
}

impl Configuration {
    fn of(row: &Row) -> Configuration {
        Configuration {
            contender: row.contender.clone(),
            operation: row.operation.clone(),
            depth: row.depth,
            segments: row.segments,
            bytes: row.bytes,
            mode: row.mode.clone(),
            chains: row.chains.clone(),
            buffer: row.buffer.clone(),
        }
    }

    /// Whether it is a read of 4 KiB in one piece.
    pub(super) fn is_usual(&self) -> bool {
        self.operation == "read" && self.segments == 1 && self.bytes == BYTES
    }

    /// The contender with its choices, without depth, segments and bytes: what a series of a chart is called.
    pub(super) fn variant(&self) -> String {
        let chains = match self.chains.as_deref() {
            // It has no choice.
            _ if self.contender == "raw" => None,
            Some("either") => Some("per request"),
            chains => chains,
        };
        let mode = Some(self.mode.as_str()).filter(|mode| !matches!(*mode, "" | "polled"));
        let buffer = match self.buffer.as_deref() {
            // Both of the native drivers have the same.
            _ if NATIVE.contains(&self.contender.as_str()) => None,
            Some("dma-buffer") => Some("DmaBuffer"),
            buffer => buffer,
        };
        let choices = [chains, buffer, mode];
        let words = std::iter::once(name(&self.contender)).chain(choices.into_iter().flatten());
        words.collect::<Vec<_>>().join(", ")
    }
}

/// A contender as people call it.
pub(super) fn name(contender: &str) -> &str {
    match contender {
        "ours" | "ours-native" => "this driver",
        "raw" => "raw ring",
        "null" => "benchmark alone",
        "minix" => "MINIX path",
        "minix-service" => "MINIX service",
        other => other,
    }
}

impl Measurement {
    /// The measurements of these rows, in the order in which their configurations first come.
    pub(super) fn all(rows: &[Row]) -> Vec<Measurement> {
        let mut all: Vec<Measurement> = Vec::new();
        for row in rows {
            let configuration = Configuration::of(row);
            let known = all.iter().position(|known| known.configuration == configuration);
            let place = known.unwrap_or_else(|| {
                all.push(Measurement::empty(configuration));
                all.len() - 1
            });
            all[place].add(row);
        }
        for measurement in &mut all {
            let sum = measurement.stages.iter().map(|(_, count)| count).sum();
            let is_staged = !measurement.stages.is_empty();
            measurement.instructions = measurement.instructions.or(is_staged.then_some(sum));
        }
        all
    }

    fn empty(configuration: Configuration) -> Measurement {
        Measurement {
            configuration,
            stages: Vec::new(),
            instructions: None,
            ratio: None,
            ratio_spread: None,
            latency: None,
            cpu_share: None,
            rate_to_other: None,
            busy_to_other: None,
        }
    }

    fn add(&mut self, row: &Row) {
        if let Some(stage) = &row.stage {
            self.stages
                .extend(row.instructions_per_request.map(|count| (stage.clone(), count)));
            return;
        }
        self.instructions = self.instructions.or(row.instructions_per_request);
        self.ratio = self.ratio.or(row.ratio_to_raw);
        self.ratio_spread = self.ratio_spread.or(row.ratio_spread);
        self.latency = self.latency.take().or_else(|| row.latency_micros.clone());
        self.cpu_share = self.cpu_share.or(row.cpu_share);
        self.rate_to_other = self.rate_to_other.or(row.rate_to_other);
        self.busy_to_other = self.busy_to_other.or(row.busy_to_other);
    }
}
