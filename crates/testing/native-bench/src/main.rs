//! The program that `cargo xtask bench --native` runs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use native_bench::rates::Plan;
use native_bench::{Choice, MAX_DEPTH, counts, rates, start};

/// Measures VirtIO block drivers on devices that other processes serve over vhost-user.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure rates, and the time within the drivers, in turn. Prints a line of JSON for each driver and depth.
    Rates {
        /// The sockets of four devices: for this driver with its own choice of chains, with direct and with indirect ones, and
        /// for the crate virtio-driver.
        #[arg(required = true, num_args = Choice::ALL.len())]
        sockets: Vec<PathBuf>,

        /// Requests in flight.
        #[arg(long = "depth", default_values_t = [1, 8, 32, 128])]
        depths: Vec<usize>,

        /// How many turns each driver gets at each depth.
        #[arg(long, default_value_t = 200)]
        rounds: usize,

        /// How long each of the two parts of a turn is, in milliseconds.
        #[arg(long, default_value_t = 3)]
        slice: u64,
    },
    /// Do batches of reads under a tool that counts instructions.
    Counts {
        /// The driver.
        driver: Choice,

        /// The socket of its device.
        socket: PathBuf,

        /// Requests in a batch.
        #[arg(long)]
        depth: usize,

        /// How many batches.
        #[arg(long)]
        batches: usize,
    },
}

fn main() -> ExitCode {
    match run(&CommandLine::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::Rates {
            sockets,
            depths,
            rounds,
            slice,
        } => {
            depths.iter().try_for_each(|&depth| check_depth(depth))?;
            let drivers: Result<_> = Choice::ALL
                .into_iter()
                .zip(sockets)
                .map(|(choice, socket)| {
                    let name = || format!("{choice} on {}", socket.display());
                    Ok((choice, start(choice, socket).with_context(name)?))
                })
                .collect();
            let mut drivers: Vec<_> = drivers?;
            for &depth in depths {
                let plan = Plan {
                    depth,
                    rounds: *rounds,
                    slice: Duration::from_millis(*slice),
                };
                for sample in rates::measure(&mut drivers, &plan) {
                    println!("{}", serde_json::to_string(&sample).context("cannot write a sample")?);
                }
            }
        }
        Command::Counts {
            driver,
            socket,
            depth,
            batches,
        } => {
            check_depth(*depth)?;
            counts::batches(&mut *start(*driver, socket)?, *depth, *batches);
        }
    }
    Ok(())
}

fn check_depth(depth: usize) -> Result<()> {
    ensure!(
        (1..=MAX_DEPTH).contains(&depth),
        "--depth {depth}: from 1 to {MAX_DEPTH} requests can be in flight"
    );
    Ok(())
}
