//! The plan of a run, from a seed.

use virtio_blk_model::faults::FaultKind;
use virtio_blk_model::{AtDriverOk, CompletionOrder, StartFault, UsedLength, feature};

use crate::plan::{
    Layout, MOST_SECTORS, Pace, PlanStep, Range, RangeKind, Report, TABLE_SECTORS, TIMEOUT, Target, Theme, Transfer,
    World,
};
use crate::rng::Rng;

/// What a device does at DRIVER_OK that is not as it should be.
const AT_DRIVER_OK: [AtDriverOk; 3] = [AtDriverOk::NeedsReset, AtDriverOk::Failed, AtDriverOk::Refused];

pub(crate) struct RandomPlan {
    pub(crate) world: World,
    pub(crate) themes: Vec<Theme>,
    pub(crate) steps: Vec<PlanStep>,
}

impl RandomPlan {
    /// The plan that follows from `seed`, with no other themes than those allowed.
    pub(crate) fn new(seed: u64, allowed: &[Theme]) -> Self {
        let mut rng = Rng::new(seed);
        let count = rng.pick(&[0, 1, 1, 2, 2, 3]);
        let mut themes = Vec::new();
        for _ in 0..count {
            let theme = rng.pick(&Theme::ALL);
            if allowed.contains(&theme) && !themes.contains(&theme) {
                themes.push(theme);
            }
        }
        let world = world(&mut rng);
        let mut writer = Writer {
            sectors: world.sectors,
            world: &world,
            themes: &themes,
            rng,
            steps: Vec::new(),
        };
        writer.write();
        let steps = writer.steps;
        Self { world, themes, steps }
    }
}

fn world(rng: &mut Rng) -> World {
    let mut withdrawn = 0;
    for (bit, times) in [
        (feature::INDIRECT_DESC, 3),
        (feature::EVENT_IDX, 3),
        (feature::CONFIG_WCE, 3),
        (feature::FLUSH, 1),
        (feature::DISCARD, 1),
        (feature::WRITE_ZEROES, 1),
        (feature::SECURE_ERASE, 4),
        (feature::LIFETIME, 4),
    ] {
        if rng.happens(times, 8) {
            withdrawn |= bit;
        }
    }
    if withdrawn & feature::FLUSH != 0 {
        withdrawn |= feature::CONFIG_WCE;
    }
    let block_bytes = rng.pick(&[512, 512, 512, 1024, 4096]);
    let order = match rng.below(3) {
        0 => CompletionOrder::InOrder,
        1 => CompletionOrder::Reverse,
        _ => CompletionOrder::Shuffled(rng.next()),
    };
    World {
        legacy: rng.happens(1, 4),
        withdrawn,
        queue: rng.pick(&[4, 8, 16, 64, 256]),
        driver_queue: rng.pick(&[4, 8, 16, 128, 128]),
        seg_max: rng.pick(&[1, 2, 3, 5, 254]),
        // One segment holds a block at least: a disk on which a block takes more segments than the device has cannot be served.
        size_max: rng.happens(1, 3).then(|| rng.pick(&[512, 1000, 4096]).max(block_bytes)),
        block_bytes,
        sectors: rng.pick(&[96, 128, 256]),
        read_only: rng.happens(1, 20),
        order,
        on_notify: rng.happens(1, 6),
        used_length: rng.pick(&UsedLength::ALL),
        one_descriptor: rng.happens(1, 8),
        failed_flush_forgets: rng.happens(1, 2),
        range_blocks: rng.pick(&[1, 3, 64, 1 << 16]),
        pages: rng.pick(&[16, 64, 1 << 20, 1 << 20]),
        depth: rng.pick(&[1, 3, u16::MAX, u16::MAX]),
        reads_before_write: rng.pick(&[0, 3, 8]),
        flush_after: rng.pick(&[TIMEOUT / 4, TIMEOUT]),
        replays: rng.pick(&[1, 3]),
        ranges_at_once: rng.pick(&[1, 3, 64, 64]),
    }
}

struct Writer<'a> {
    world: &'a World,
    themes: &'a [Theme],
    rng: Rng,
    steps: Vec<PlanStep>,
    /// As of the last resize.
    sectors: u64,
}

impl Writer<'_> {
    fn is_about(&self, theme: Theme) -> bool {
        self.themes.contains(&theme)
    }

    fn write(&mut self) {
        let write = !self.world.read_only;
        let minors: &[i32] = if self.world.partitions().is_some() {
            &[0, 1, 2]
        } else {
            &[0]
        };
        for &minor in minors {
            if self.rng.happens(9, 10) {
                let client = minor as u8;
                self.steps.push(PlanStep::Open { client, minor, write });
            }
        }
        let length = self.rng.from(10, 70);
        for _ in 0..length {
            self.client_step();
            let themes = self.themes;
            for &theme in themes {
                if self.rng.happens(1, 4) {
                    self.device_step(theme);
                }
            }
            if self.rng.happens(1, 2) {
                let pass = self.passes();
                self.steps.push(pass);
            }
            if self.rng.happens(1, 40) {
                self.steps.push(PlanStep::Honest);
            }
        }
        if self.rng.happens(1, 2) {
            self.steps.push(PlanStep::Honest);
            for _ in 0..self.rng.from(1, 10) {
                self.client_step();
            }
        }
    }

    fn passes(&mut self) -> PlanStep {
        PlanStep::Pass(match self.rng.below(16) {
            0..10 => 0,
            10..13 => self.rng.from(1, 2_000),
            13..15 => self.rng.from(2_000, TIMEOUT / 2),
            _ => self.rng.from(TIMEOUT / 2, 3 * TIMEOUT),
        })
    }

    fn minor(&mut self) -> i32 {
        match self.world.partitions() {
            Some(_) => self.rng.pick(&[0, 0, 0, 1, 2]),
            None => 0,
        }
    }

    fn client_step(&mut self) {
        let client = self.rng.below(3) as u8;
        let often = [Theme::Opens, Theme::Storm].iter().any(|&theme| self.is_about(theme));
        let opens = if often { 8 } else { 2 };
        let kind = self.rng.below(36);
        if kind < opens {
            for _ in 0..self.rng.pick(&[1, 1, 2, 4]) {
                let minor = self.minor();
                let write = self.rng.happens(3, 4);
                self.steps.push(PlanStep::Open { client, minor, write });
            }
        } else if kind < 2 * opens {
            let minor = self.minor();
            self.steps.push(PlanStep::Close { client, minor });
        } else if kind < 2 * opens + 3 {
            let minor = self.minor();
            self.steps.push(PlanStep::Flush { client, minor });
        } else if kind == 31 {
            let on = self.rng.happens(1, 2);
            self.steps.push(PlanStep::SetCache { client, on });
        } else if kind == 32 || kind == 33 {
            let range = self.range();
            self.steps.push(PlanStep::Range(range));
        } else if kind > 33 {
            let minor = self.minor();
            let reports = [
                Report::Info,
                Report::Stat,
                Report::Regs,
                Report::Queue,
                Report::Log,
                Report::Version,
            ];
            let report = self.rng.pick(&reports);
            self.steps.push(PlanStep::Report { client, minor, report });
        } else {
            let burst = if self.rng.happens(1, 6) {
                self.rng.from(2, 24)
            } else {
                1
            };
            let in_a_row = self.rng.happens(1, 2);
            let mut next: Option<Transfer> = None;
            for _ in 0..burst {
                let mut transfer = self.transfer();
                if let Some(before) = next.filter(|_| in_a_row) {
                    transfer = Transfer {
                        sector: before.sector + before.elements.iter().sum::<u64>(),
                        elements: transfer.elements,
                        ..before
                    };
                }
                self.steps.push(PlanStep::Transfer(transfer.clone()));
                next = Some(transfer);
            }
        }
    }

    fn transfer(&mut self) -> Transfer {
        let unit = self.world.block_sectors();
        let minor = self.minor();
        let write = self.rng.happens(1, 2);
        let elements: Vec<u64> = match self.rng.below(16) {
            0..10 => vec![self.rng.from(1, 8)],
            10..15 => (0..self.rng.from(2, 6)).map(|_| self.rng.from(1, 4)).collect(),
            _ => (0..self.rng.from(8, 64)).map(|_| 1).collect(),
        };
        let elements: Vec<u64> = elements.iter().map(|sectors| sectors * unit).collect();
        // Crowded, so that they overlap and touch.
        let sector = match self.rng.below(8) {
            0..5 => self.rng.below(32),
            5 | 6 => self.rng.below(self.sectors + 16),
            _ => self.sectors - self.rng.below(8),
        };
        let first = if write && minor == 0 { TABLE_SECTORS } else { 0 };
        Transfer {
            client: self.rng.below(3) as u8,
            minor,
            write,
            force: write && self.rng.happens(1, 5),
            sector: (first + sector) / unit * unit,
            elements,
            layout: self.rng.pick(&[
                Layout::Contiguous,
                Layout::Scattered,
                Layout::Scattered,
                Layout::Untouched,
            ]),
            skew: match self.rng.below(3) {
                0 => 0,
                1 => 512 * self.rng.below(8),
                _ => 2 * self.rng.below(2048),
            },
        }
    }

    fn range(&mut self) -> Range {
        let unit = self.world.block_sectors();
        let minor = self.minor();
        let sector = match self.rng.below(8) {
            0..6 => self.rng.below(32),
            _ => self.rng.below(self.sectors + 16),
        };
        let first = if minor == 0 { TABLE_SECTORS } else { 0 };
        let unmap = self.rng.happens(1, 2);
        Range {
            client: self.rng.below(3) as u8,
            minor,
            kind: self
                .rng
                .pick(&[RangeKind::Discard, RangeKind::Zero { unmap }, RangeKind::Erase]),
            force: self.rng.happens(7, 8),
            sector: (first + sector) / unit * unit,
            count: unit * self.rng.pick(&[1, 2, 7, 20]),
        }
    }

    fn device_step(&mut self, theme: Theme) {
        let times = if self.rng.happens(1, 2) {
            1
        } else {
            self.rng.from(1, 6) as u32
        };
        let any = |kind| PlanStep::Faults {
            target: Target::Any,
            kind,
            times,
        };
        let step = match theme {
            Theme::Slow => PlanStep::Pace(match self.rng.below(3) {
                0 => Pace::Prompt,
                _ => Pace::Every {
                    micros: self.rng.from(100, TIMEOUT * 8 / 10),
                    requests: self.rng.from(1, 3) as usize,
                },
            }),
            Theme::Errors => any(match self.rng.below(5) {
                0 => FaultKind::Status(2),
                1 => FaultKind::NoStatus,
                2 => FaultKind::Half(1),
                _ => FaultKind::Status(1),
            }),
            Theme::Flushes => PlanStep::Faults {
                target: Target::Flush,
                kind: FaultKind::Status(self.rng.pick(&[1, 1, 1, 2])),
                times,
            },
            Theme::Loss => match self.rng.below(6) {
                0 => any(FaultKind::Lost),
                1 => any(FaultKind::Swallowed),
                2 => any(FaultKind::NoInterrupt),
                3 => PlanStep::Hold(self.rng.from(1, 4) as usize),
                4 => PlanStep::Return,
                _ => PlanStep::Pace(if self.rng.happens(1, 3) {
                    Pace::Stalled
                } else {
                    Pace::Prompt
                }),
            },
            Theme::Lies => any(match self.rng.below(6) {
                0 => FaultKind::UsedId(self.rng.pick(&[0xFFFF, 0x1_0000, u32::MAX])),
                1 => FaultKind::IndexJump(self.rng.pick(&[300, 0x4000, 0x8000])),
                2 => FaultKind::Twice,
                3 => FaultKind::UsedLen(self.rng.pick(&[0, 1, u32::MAX])),
                4 => FaultKind::LenTooLong,
                _ => FaultKind::ForcedInterrupt,
            }),
            Theme::Resets => match self.rng.below(3) {
                0 => any(FaultKind::BreakDown),
                1 => PlanStep::Starts {
                    fault: StartFault::AtDriverOk(self.rng.pick(&AT_DRIVER_OK)),
                    times: 1,
                },
                _ => PlanStep::NeedsReset,
            },
            Theme::Starts => {
                let fault = match self.rng.below(4) {
                    0 => StartFault::FeaturesRefused,
                    1 => StartFault::UsedIndex(self.rng.pick(&[300, 0x4000])),
                    _ => StartFault::NoQueue,
                };
                if self.rng.happens(1, 2) {
                    self.steps.push(PlanStep::Starts { fault, times: 1 });
                    PlanStep::NeedsReset
                } else {
                    PlanStep::Starts { fault, times }
                }
            }
            Theme::Storm => {
                let (fault, times) = match self.rng.below(3) {
                    0 => (
                        StartFault::AtDriverOk(self.rng.pick(&AT_DRIVER_OK)),
                        self.rng.pick(&[4, 12, 1000]),
                    ),
                    _ => (StartFault::UsedIndex(0x4000), self.rng.from(2, 12) as u32),
                };
                self.steps.push(PlanStep::Starts { fault, times });
                for _ in 0..self.rng.below(4) {
                    self.client_step();
                }
                PlanStep::NeedsReset
            }
            Theme::Stuck => match self.rng.below(5) {
                0 => PlanStep::HoldResets(true),
                1 | 2 => PlanStep::HoldResets(false),
                3 => PlanStep::ResetReads(self.rng.pick(&[0, 1, 1000])),
                _ => PlanStep::NeedsReset,
            },
            Theme::Restless => match self.rng.below(3) {
                0 => PlanStep::Restless(true),
                1 => PlanStep::Restless(false),
                _ => PlanStep::Spurious(2),
            },
            Theme::Resize => {
                let unit = self.world.block_sectors();
                self.sectors = self.rng.from(TABLE_SECTORS + 24, MOST_SECTORS) / unit * unit;
                PlanStep::Resize(self.sectors)
            }
            Theme::ReadOnly => match self.rng.below(3) {
                0 => PlanStep::NeedsReset,
                _ => PlanStep::ReadOnly(self.rng.happens(1, 2)),
            },
            Theme::Opens => PlanStep::Spurious(self.rng.from(1, 3) as u32),
        };
        self.steps.push(step);
    }
}
