//! The mistakes a user can make: each must give one line that says what is wrong, and a failing exit status, and leave the
//! user's file as it was.
//!
//! Where a mistake only shows when QEMU runs, a shell script plays QEMU: it answers the questions xtask asks of a QEMU and
//! then misbehaves on purpose.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Check, Guest, Verdict};
use crate::interrupt;

/// What a case needs in its directory.
#[derive(Clone, Copy)]
enum Given {
    Nothing,
    /// A file `disk` of this many bytes.
    Disk(u64),
    /// A file `disk` that starts with these bytes.
    Magic(&'static [u8]),
    /// A program `qemu` of this version that does this in the place of booting.
    Qemu(&'static str, &'static str),
}

/// Name, what there is, the arguments, the exit code, part of the error line.
type Case = (&'static str, Given, &'static str, i32, &'static str);

const CASES: [Case; 35] = [
    ("no-command", Given::Nothing, "", 2, "no command given"),
    (
        "unknown-command",
        Given::Nothing,
        "boot",
        2,
        "unrecognized subcommand 'boot'",
    ),
    ("unknown-flag", Given::Nothing, "qemu --turbo", 2, "--turbo"),
    (
        "bad-format",
        Given::Nothing,
        "qemu --format vmdk",
        2,
        "possible: raw, qcow2",
    ),
    (
        "bad-block-size",
        Given::Nothing,
        "qemu --block-size 1000",
        2,
        "512, 1024, 2048 or 4096",
    ),
    (
        "bad-queue-size",
        Given::Nothing,
        "qemu --queue-size 0",
        2,
        "--queue-size",
    ),
    ("bad-memory", Given::Nothing, "qemu --memory much", 2, "--memory"),
    ("bad-smp", Given::Nothing, "qemu --bare --smp 99", 2, "--smp"),
    ("shell-without-bare", Given::Nothing, "qemu --shell", 2, "add --bare"),
    ("poll-without-bare", Given::Nothing, "qemu --poll", 2, "add --bare"),
    (
        "bare-kills",
        Given::Nothing,
        "qemu --bare --kill-during-io",
        2,
        "cannot be used with",
    ),
    (
        "unknown-scenario",
        Given::Nothing,
        "qemu --scenario dance",
        2,
        "possible: tour",
    ),
    (
        "read-only-kills",
        Given::Nothing,
        "qemu --scenario abuse --read-only",
        2,
        "leave out --read-only",
    ),
    (
        "large-blocks",
        Given::Nothing,
        "qemu --block-size 4096 --scenario large",
        2,
        "leave out --block-size",
    ),
    (
        "service-queue-size",
        Given::Nothing,
        "qemu --queue-size 100",
        2,
        "a power of two from 4 to 256",
    ),
    (
        "rounds-of-nothing",
        Given::Nothing,
        "qemu --rounds 5",
        2,
        "--kill-during-io, or --scenario kills or slow-kills",
    ),
    ("minix-nothing", Given::Nothing, "minix", 2, "minix check"),
    ("check-nothing", Given::Nothing, "minix check", 2, "<ELF>"),
    (
        "check-missing",
        Given::Nothing,
        "minix check missing",
        1,
        "missing: No such file",
    ),
    (
        "check-no-elf",
        Given::Disk(4096),
        "minix check disk",
        1,
        "disk: not an ELF file",
    ),
    ("write-without-disk", Given::Nothing, "qemu --write", 2, "add --disk"),
    (
        "write-and-read-only",
        Given::Disk(512),
        "qemu --disk disk --write --read-only",
        2,
        "cannot be used with",
    ),
    (
        "no-such-file",
        Given::Nothing,
        "qemu --disk missing",
        1,
        "missing: no such file",
    ),
    ("directory", Given::Nothing, "qemu --disk .", 1, "is a directory"),
    (
        "odd-size",
        Given::Disk(1000),
        "qemu --disk disk",
        1,
        "not a multiple of 512",
    ),
    (
        "partial-block",
        Given::Disk(512 * 9),
        "qemu --disk disk --block-size 4096",
        1,
        "not a multiple of the block size 4096",
    ),
    (
        "unsupported-image",
        Given::Magic(b"KDMV"),
        "qemu --disk disk",
        1,
        "VMDK images are not supported",
    ),
    (
        "not-qcow2",
        Given::Disk(4096),
        "qemu --disk disk --format qcow2",
        1,
        "is not a qcow2 image",
    ),
    ("no-qemu", Given::Nothing, "qemu --qemu ./qemu", 1, "is missing"),
    (
        "not-a-qemu",
        Given::Nothing,
        "qemu --qemu /bin/true",
        1,
        "does not say a QEMU version",
    ),
    (
        "old-qemu",
        Given::Qemu("6.2.0", ""),
        "qemu --qemu ./qemu",
        1,
        "QEMU 6.2 is too old",
    ),
    (
        "unwritable-report",
        Given::Disk(512),
        "qemu --json no/such/dir/report",
        1,
        "cannot write no/such/dir/report",
    ),
    (
        "report-over-disk",
        Given::Disk(512),
        "qemu --disk disk --json ./disk",
        1,
        "./disk: is the disk",
    ),
    (
        "unknown-filter",
        Given::Nothing,
        "test no-such-check",
        1,
        "no check has `no-such-check`",
    ),
    ("two-filters", Given::Nothing, "test one two", 2, "'two'"),
];

/// The same where the image is needed, as QEMU is started with it.
const CASES_WITH_IMAGE: [Case; 4] = [
    (
        "hang",
        Given::Qemu("10.0.0", "echo here; exec sleep 60"),
        "qemu --bare --qemu ./qemu --timeout 1",
        1,
        "within 1 s",
    ),
    (
        "silent-exit",
        Given::Qemu("10.0.0", "exit 0"),
        "qemu --bare --qemu ./qemu",
        1,
        "without a result",
    ),
    (
        "qemu-refuses",
        Given::Qemu("10.0.0", "echo 'bad option' >&2; exit 1"),
        "qemu --bare --qemu ./qemu",
        1,
        "bad option",
    ),
    (
        "no-done",
        Given::Qemu("10.0.0", r"echo hello; printf '\036test name=a result=pass\n'"),
        "qemu --bare --qemu ./qemu",
        1,
        "without a result",
    ),
];

/// The same with the service.
const CASES_WITH_SERVICE: [Case; 4] = [
    (
        "service/hang",
        Given::Qemu("10.0.0", "echo here; exec sleep 60"),
        "qemu --qemu ./qemu --timeout 1",
        1,
        "within 1 s",
    ),
    (
        "service/no-done",
        Given::Qemu("10.0.0", r"echo hello; printf '\036test name=a result=pass detail=\n'"),
        "qemu --qemu ./qemu",
        1,
        "without a result",
    ),
    (
        "service/no-work",
        Given::Qemu("10.0.0", r"echo hello; printf '\036done passed=1 failed=0\n'"),
        "qemu --qemu ./qemu",
        1,
        "did not find partition",
    ),
    (
        "service/violation",
        Given::Qemu("10.0.0", r"echo hello; printf '\036violation text=two_replies\n'"),
        "qemu --qemu ./qemu",
        1,
        "breach of protocol: two replies",
    ),
];

pub(super) fn checks() -> Vec<Check> {
    let check = |case: Case| {
        let name = format!("usage/{}", case.0);
        let work = move |_: &super::Context| run(case);
        (name, work)
    };
    let plain = CASES.into_iter().map(check).map(|(name, work)| Check::new(name, work));
    let booting = CASES_WITH_IMAGE
        .into_iter()
        .map(check)
        .map(|(name, work)| Check::booting(Guest::Bare, name, work));
    let service = CASES_WITH_SERVICE
        .into_iter()
        .map(check)
        .map(|(name, work)| Check::booting(Guest::Minix, name, work));
    plain
        .chain(booting)
        .chain(service)
        .chain([
            Check::new("usage/dry-run", |_| dry_run()),
            Check::booting(Guest::Minix, "usage/interrupt", |context| {
                interrupt(&context.workspace.scratch())
            }),
        ])
        .collect()
}

fn run((_, given, arguments, code, part): Case) -> Verdict {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let directory = directory.path();
    let disk = prepare(directory, given).map_err(|error| format!("cannot prepare the case: {error}"))?;
    let before = disk
        .as_ref()
        .map(std::fs::read)
        .transpose()
        .map_err(|error| error.to_string())?;

    let output = xtask(directory, arguments)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    let told = || {
        format!(
            "$ cargo xtask {arguments}\n{}{text}",
            String::from_utf8_lossy(&output.stdout)
        )
    };
    if output.status.code() != Some(code) {
        return Err(format!("ended with {}, not {code}\n{}", output.status, told()));
    }
    match errors[..] {
        [line] if line.contains(part) => {}
        _ => return Err(format!("no single error line with `{part}`\n{}", told())),
    }
    let after = disk
        .as_ref()
        .map(std::fs::read)
        .transpose()
        .map_err(|error| error.to_string())?;
    if before != after {
        return Err("the disk image has changed".to_owned());
    }
    Ok(())
}

/// The command line is printed whole, in one line, with nothing made or installed.
fn dry_run() -> Verdict {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let output = xtask(directory.path(), "qemu --dry-run --legacy --qemu /no/such/qemu")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let whole = text.starts_with("/no/such/qemu -machine virt ") && text.contains("force-legacy=true");
    if output.status.success() && whole && text.lines().count() == 1 {
        Ok(())
    } else {
        Err(text)
    }
}

/// A run that is told to end leaves neither QEMU nor files behind. `scratch` is where runs keep their files.
fn interrupt(scratch: &Path) -> Verdict {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let directory = directory.path();
    // The number of its process goes first, so that it is known by the time QEMU speaks.
    write_fake_qemu(directory, "10.0.0", "echo $$ >pid; echo here; exec sleep 60")
        .map_err(|error| error.to_string())?;
    let mut child = command(directory, "qemu --qemu ./qemu")?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start xtask: {error}"))?;
    let started = Instant::now();
    let qemu = loop {
        match std::fs::read_to_string(directory.join("pid")) {
            Ok(number) if number.ends_with('\n') => break number.trim().to_owned(),
            _ if started.elapsed() < Duration::from_secs(60) => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                return Err("QEMU was never started".to_owned());
            }
        }
    };
    let number = child.id().to_string();
    let told = Command::new("sh")
        .args(["-c", &format!("kill -TERM {number}")])
        .status();
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !told.is_ok_and(|status| status.success())
        || output.status.code() != Some(interrupt::EXIT_CODE.into())
        || !text.ends_with("error: interrupted\n")
    {
        return Err(format!("ended with {}\n{text}", output.status));
    }
    if Path::new("/proc").join(&qemu).exists() {
        return Err("QEMU still runs".to_owned());
    }
    let prefix = format!("run-{number}-");
    let mut left = std::fs::read_dir(scratch).into_iter().flatten().flatten();
    match left.find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        Some(entry) => Err(format!("{} is left behind", entry.path().display())),
        None => Ok(()),
    }
}

fn prepare(directory: &Path, given: Given) -> std::io::Result<Option<PathBuf>> {
    let disk = directory.join("disk");
    match given {
        Given::Nothing => return Ok(None),
        Given::Disk(bytes) => std::fs::File::create(&disk)?.set_len(bytes)?,
        Given::Magic(head) => std::fs::write(&disk, [head, &[0; 508]].concat())?,
        Given::Qemu(version, boot) => {
            write_fake_qemu(directory, version, boot)?;
            return Ok(None);
        }
    }
    Ok(Some(disk))
}

/// Writes a program `qemu` that answers what xtask asks first, and then does `boot`.
fn write_fake_qemu(directory: &Path, version: &str, boot: &str) -> std::io::Result<()> {
    let text = format!(
        "#!/bin/sh\ncase $1 in\n--version) echo 'QEMU emulator version {version}';;\n-L) echo '{}';;\n*) {boot}\n;;\nesac\n",
        directory.display()
    );
    let program = directory.join("qemu");
    std::fs::write(&program, text)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    std::fs::write(directory.join("opensbi-riscv64-generic-fw_dynamic.bin"), "")
}

/// This very program, called the way a user calls it.
pub(super) fn xtask(directory: &Path, arguments: &str) -> Result<std::process::Output, String> {
    let output = command(directory, arguments)?.output();
    output.map_err(|error| format!("cannot start xtask: {error}"))
}

fn command(directory: &Path, arguments: &str) -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find xtask itself: {error}"))?;
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(directory);
    Ok(command)
}
