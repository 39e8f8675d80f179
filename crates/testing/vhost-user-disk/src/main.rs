//! The device as a program.

use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use vhost::vhost_user::Listener;
use vhost_user_disk::{Behaviour, Disk, Image, READY, serve};

/// Serves a raw image as a VirtIO block device to one QEMU, by vhost-user.
///
/// Ends when QEMU does. The exit status is 1 if the driver broke a rule.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
struct CommandLine {
    /// The raw image.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,

    /// Where to make the socket. One that is there already is replaced; any other file is left alone.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// Write the counts of the device to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    #[command(flatten)]
    behaviour: Behaviour,
}

fn main() -> ExitCode {
    match run(&CommandLine::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True if the driver kept to the rules.
fn run(options: &CommandLine) -> Result<bool> {
    let name = || format!("cannot open {}", options.image.display());
    let image = Image::open(&options.image, options.behaviour.read_only).with_context(name)?;
    let disk = Disk::new(image, options.behaviour.clone());
    let socket = options.socket.display();
    // The listener removes an existing file, which may be the image.
    if let Ok(there) = std::fs::symlink_metadata(&options.socket)
        && !there.file_type().is_socket()
    {
        bail!("{socket}: is there and is no socket, give --socket another path");
    }
    if let Some(report) = &options.report
        && let (Ok(report), Ok(image)) = (report.canonicalize(), options.image.canonicalize())
        && report == image
    {
        bail!("{}: is the image, give --report another path", report.display());
    }
    let listener =
        Listener::new(&options.socket, true).map_err(|error| anyhow!("cannot listen on {socket}: {error}"))?;
    println!("{READY}{socket}");
    let report = serve(disk, listener).map_err(|error| anyhow!("{error}"))?;
    let text = serde_json::to_string_pretty(&report).context("cannot write the report")? + "\n";
    match &options.report {
        Some(file) => std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?,
        None => print!("{text}"),
    }
    Ok(report.is_clean())
}
