//! A machine with one disk and one hart, for programs of some kilobytes that end by their status.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::check::{Context, Verdict};
use crate::run;

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Boots the program with the disk in the first window, of version 1 if `legacy` is `on`. The program has to end well, and what it
/// printed has to be right.
pub(super) fn boot(
    context: &Context,
    program: &Path,
    disk: &Path,
    legacy: &str,
    is_right: impl FnOnce(&str) -> bool,
) -> Verdict {
    let mut command = Command::new(&context.setup()?.qemu.program);
    command.args(["-machine", "virt", "-m", "16M", "-bios", "default"]);
    command.args(["-nodefaults", "-display", "none", "-serial", "stdio"]);
    command.arg("-kernel").arg(program);
    command.arg("-global").arg(format!("virtio-mmio.force-legacy={legacy}"));
    command
        .arg("-drive")
        .arg(format!("if=none,id=disk,format=raw,file={}", disk.display()));
    command.args(["-device", "virtio-blk-device,drive=disk,bus=virtio-mmio-bus.0"]);
    let (ended, text) = run::silently(&context.workspace, &command, LIMIT);
    match ended.map_err(|error| format!("{error:#}"))?.status {
        Some(status) if status.success() && is_right(&text) => Ok(()),
        Some(status) => Err(format!("ended with {status}\n{text}")),
        None => Err(format!("took longer than {} s\n{text}", LIMIT.as_secs())),
    }
}
