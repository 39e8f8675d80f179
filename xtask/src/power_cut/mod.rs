//! Power cuts: the service writes to a disk whose writes QEMU logs, clients tell what they ask for and what they are told, and
//! the host judges every disk that a power cut can leave.
//!
//! [`command`] is `cargo xtask power-cut`, which runs the scenario of that name and leaves its figures in `target/evidence`.
//! [`brake`] makes the disk so slow now and then that the service resets its device, [`examine`] judges a run that has ended.

pub(crate) mod brake;
pub(crate) mod examine;

use anyhow::Result;

use crate::cli::{PowerCutArgs, qemu_args};
use crate::console::{Console, complain, say};
use crate::evidence::{self, Figure, Value};
use crate::progress::Progress;
use crate::run::Input;
use crate::session::{self, Needs, Setup};
use crate::tools::Wanted;
use crate::workspace::Workspace;

/// Runs the command; true if every disk holds what was promised.
pub(crate) fn command(args: &PowerCutArgs) -> Result<bool> {
    let flags = args.flags();
    let qemu = qemu_args(&flags, None).map_err(anyhow::Error::msg)?;
    let workspace = Workspace::load()?;
    let progress = Progress::for_this_terminal();
    let needs = Needs {
        tools: Wanted {
            emulator: args.qemu.as_deref(),
            image_tool: false,
            may_install: !args.no_install,
        },
        bare: false,
        minix: true,
        bench: false,
        foreign: false,
        faults: false,
    };
    let setup = Setup::prepare(&workspace, needs, progress)?;
    let mut console = Console::default();
    let report = session::run(&setup, &qemu, None, Input::None, &mut console, progress)?;
    if let Some(judged) = &report.host.power_cut {
        for (name, value) in judged.figures() {
            say(&format!("  {name:<58}{value:>20}"));
        }
        if report.passed {
            let command = format!("cargo xtask power-cut {}", args.words());
            let figures = judged.figures().into_iter();
            let figures = figures.map(|(name, value)| Figure::new(name, Value::Count(value), command.trim_end()));
            evidence::record(&workspace, "power-cut", figures.collect())?;
        }
    }
    if !report.passed {
        say(&console.text());
        for reason in &report.reasons {
            complain(&format!("error: {reason}"));
        }
    }
    Ok(report.passed)
}
