//! The examples: each is built and booted, and what it prints and leaves on its disks has to be right.

use clap::ValueEnum;

use super::check::{Check, Context, Guest, Verdict};
use crate::cli;
use crate::console::Console;
use crate::example::{self, Name, Site};
use crate::progress::Progress;

pub(super) fn checks() -> Vec<Check> {
    let of = |name: Name| [("", name), ("/legacy", name)];
    let interfaces = Name::value_variants().iter().copied().flat_map(of);
    interfaces
        .map(|(interface, name)| Check {
            boots: Some(Guest::Example),
            ..Check::new(format!("example/{}{interface}", name.package()), move |context| {
                boot(context, name, if interface.is_empty() { "" } else { " --legacy" })
            })
        })
        .collect()
}

fn boot(context: &Context, name: Name, flags: &str) -> Verdict {
    let flags = format!("--example {}{flags}", name.package());
    let args = cli::qemu_args(&flags, None)?;
    let site = Site {
        workspace: &context.workspace,
        may_install: context.may_install,
    };
    let mut console = Console::default();
    let qemu = &context.setup()?.qemu.program;
    let ran = example::run(&site, qemu, name, &args, None, &mut console, Progress::Silent);
    ran.map_err(|error| format!("{error:#}\n$ cargo xtask qemu {flags}\n{}", console.guest_text()))
}
