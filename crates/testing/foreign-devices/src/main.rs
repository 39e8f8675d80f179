//! The program that does millions of requests.

mod figures;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use foreign_devices::device::{Daemon, QemuMmio, QemuPci, Software};
use foreign_devices::{Plan, run};
use virtio_blk_model::faults::FaultScript;

/// Does random requests on a device of another implementation, and compares every sector that is read with what was written.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
struct CommandLine {
    /// The device.
    #[arg(long)]
    device: Choice,

    /// Requests that are answered before it ends.
    #[arg(long, default_value_t = 1_000_000)]
    operations: u64,

    /// How often the device is killed in the middle of its work, and another is started in its place.
    #[arg(long, default_value_t = 20)]
    kills: u64,

    /// The same seed makes the same choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Add what was done to the figures of the device in this file, such as target/evidence/foreign.json: an object of JSON in each line.
    #[arg(long, value_name = "FILE")]
    figures: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choice {
    /// `qemu-storage-daemon`, over vhost-user.
    StorageDaemon,
    /// QEMU's disk on the MMIO transport, over qtest.
    QemuMmio,
    QemuMmioLegacy,
    /// QEMU's disk on the PCI bus, over qtest.
    QemuPci,
    QemuPciLegacy,
    /// The model of the tests, in this process.
    Model,
}

fn main() -> ExitCode {
    match go(&CommandLine::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn go(line: &CommandLine) -> Result<()> {
    let plan = Plan {
        operations: line.operations,
        kills: line.kills,
        seed: line.seed,
        patience: Duration::from_secs(60),
    };
    let started = Instant::now();
    let totals = match line.device {
        Choice::StorageDaemon => run(&mut Daemon::start()?, &plan),
        Choice::QemuMmio => run(&mut QemuMmio::start(false)?, &plan),
        Choice::QemuMmioLegacy => run(&mut QemuMmio::start(true)?, &plan),
        Choice::QemuPci => run(&mut QemuPci::start(false)?, &plan),
        Choice::QemuPciLegacy => run(&mut QemuPci::start(true)?, &plan),
        Choice::Model => run(&mut Software::new(FaultScript::new()), &plan),
    }?;
    let name = line
        .device
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    println!(
        "{name}: {} requests, {} sectors compared, {} kills with {} requests in flight, {} waits for an interrupt, none lost, none \
         answered twice, in {:.0} s",
        totals.operations,
        totals.sectors_compared,
        totals.kills,
        totals.aborted,
        totals.interrupts,
        started.elapsed().as_secs_f64()
    );
    line.figures
        .as_deref()
        .map_or(Ok(()), |file| figures::add(file, &name, &totals))
}
