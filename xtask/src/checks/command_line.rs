//! The mistakes a user can make: each must end with a failing exit status and an error that says what is wrong, and leave the
//! user's files as they were. clap explains a mistake in the command line, every other error is one line. xtask is called
//! outside of the workspace.
//!
//! Where a mistake only shows when QEMU runs, a shell script plays QEMU: it answers the questions xtask asks of a QEMU and
//! then misbehaves on purpose.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::check::{Check, Context, Guest, Verdict};
use crate::interrupt;

/// The disk images in the folder of each case: name, first bytes, size.
const DISKS: [(&str, &[u8], usize); 2] = [("disk", b"", 9 * 512), ("vmdk", b"KDMV", 512)];

/// The programs in it that play QEMU: name, version, what they do in the place of booting.
#[rustfmt::skip]
const QEMUS: [(&str, &str, &str); 11] = [
    ("bare", "10.0.0", ""),
    ("old", "6.2.0", ""),
    ("hangs", "10.0.0", "echo here; exec sleep 60"),
    ("ends", "10.0.0", "exit 0"),
    ("refuses", "10.0.0", "echo 'bad option' >&2; exit 1"),
    ("stops", "10.0.0", r#"echo hello; printf '\036{"test":{"name":"a","outcome":"pass","detail":""}}\n'"#),
    ("idles", "10.0.0", r#"echo hello; printf '\036{"done":{"passed":1,"failed":0}}\n'"#),
    ("violates", "10.0.0", r#"echo hello; printf '\036{"violation":{"text":"two replies"}}\n'"#),
    // The number of its process goes first, so the caller knows the number by the time QEMU speaks.
    ("waits", "10.0.0", "echo $$ >pid; echo here; exec sleep 60"),
    // These set the terminal up as QEMU does, and do not put it back. The second one does not end when it is told to.
    ("untidy", "10.0.0", "stty -icanon -echo; echo $$ >pid; exec sleep 60"),
    ("stubborn", "10.0.0", "trap '' TERM INT; stty -icanon -echo; echo $$ >pid; exec sleep 60"),
];

/// Arguments, exit code, part of the error.
type Case = (&'static str, u8, &'static str);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("", 2, "[subcommands: build, qemu, bench, minix, coverage, evidence, fuzz, mutants, requirements, generate, power-cut, test, help]"),
    ("fuzz nothing", 1, "there is no target `nothing`; there are bdev, "),
    ("fuzz bdev --minutes 0", 2, "0 is not in 1.."),
    ("mutants --sample 0", 2, "0 is not in 1.."),
    ("requirements --prove --sample 0", 2, "0 is not in 1.."),
    ("requirements --prove --harnesses", 2, "cannot be used with"),
    ("qem", 2, "a similar subcommand exists: 'qemu'"),
    ("qemu --blocksize 512", 2, "a similar argument exists: '--block-size'"),
    ("qemu --format vmdk", 2, "[possible values: raw, qcow2]"),
    ("qemu --block-size 1000", 2, "a power of two from 512 to 65536"),
    ("qemu --block-size 8192", 2, "--block-size 8192: the disk that is made has blocks of up to 4096 bytes"),
    ("qemu --queue-size 0", 2, "0 is not in 1..=32768"),
    ("qemu --queue-size 100", 2, "a power of two from 4 to 256"),
    ("qemu --queue-size 2", 2, "a power of two from 4 to 256"),
    ("qemu --queue-size 512", 2, "a power of two from 4 to 256"),
    ("qemu --memory much", 2, "128M"),
    ("qemu --memory 1M", 2, "at least 32M"),
    ("qemu --timeout 0", 2, "0 is not in 1.."),
    ("qemu --qemu-arg=", 2, "--qemu-arg"),
    ("qemu --bare --smp 99", 2, "--smp"),
    ("qemu --smp 2", 2, "--smp needs --bare"),
    ("qemu --bus pci", 2, "--bus needs --bare"),
    ("qemu --queues 2", 2, "--queues needs --bare"),
    ("qemu --vectors 2", 2, "--vectors needs --bare"),
    ("qemu --aia aplic", 2, "--aia needs --bare"),
    ("qemu --bare --bus isa", 2, "[possible values: mmio, pci, pci-transitional]"),
    ("qemu --bare --aia msi", 2, "[possible values: none, aplic, aplic-imsic]"),
    ("qemu --bare --queues 9", 2, "9 is not in 1..=8"),
    ("qemu --bare --queues 0", 2, "0 is not in 1..=8"),
    ("qemu --bare --queues 4 --smp 2", 2, "--queues 4: each needs a hart, and --smp 2 makes fewer"),
    ("qemu --bare --vectors 2", 2, "only disks on the PCI bus have vectors"),
    ("qemu --bare --bus pci --vectors 2", 2, "only IMSICs take the messages of MSI-X: add --aia aplic-imsic"),
    ("qemu --bare --bus pci-transitional --legacy", 2, "--legacy: a disk on pci-transitional has both interfaces"),
    ("qemu --bare --bus mmio,pci --disk disk", 2, "--disk is about one disk, and --bus makes 2"),
    ("qemu --bare --bus mmio --bus pci --shell", 2, "--shell is about one disk, and --bus makes 2"),
    ("qemu --bare --bus pci,pci,pci,pci,pci,pci,pci,pci,pci", 2, "--bus: 8 disks at most"),
    ("qemu --bare --queues 2 --foreign plain", 2, "only storage-daemon serves several"),
    ("qemu --bare --bus mmio,pci --foreign storage-daemon", 2, "all its disks have the same id"),
    ("qemu --bare --legacy --foreign storage-daemon", 2, "--foreign storage-daemon: it serves modern devices"),
    ("qemu --remove hot", 2, "--remove needs --bare"),
    ("qemu --count", 2, "--count needs --bare"),
    ("qemu --bare --count --load 2", 2, "cannot be used with"),
    ("qemu --load 2", 2, "--load needs --bare"),
    ("qemu --bare --remove hot", 2, "need a disk of QEMU's own on --bus pci"),
    ("qemu --bare --bus pci --remove surprise --foreign plain", 2, "need a disk of QEMU's own on --bus pci"),
    ("qemu --bare --bus pci,pci --remove hot", 2, "--remove is about one disk, and --bus makes 2"),
    ("qemu --bare --remove killed", 2, "without --foreign there is no back-end that can be killed"),
    ("qemu --bare --remove killed --foreign plain --load 2", 2, "cannot be used with"),
    ("qemu --bare --bus pci --remove hot --shell", 2, "cannot be used with"),
    ("qemu --bare --bus pci --remove hot --read-only", 2, "cannot be used with"),
    ("qemu --bare --load 2 --read-only", 2, "cannot be used with"),
    ("qemu --bare --load 2 --disk disk --write", 2, "cannot be used with"),
    ("qemu --shell", 2, "--shell needs --bare"),
    ("qemu --poll", 2, "--poll needs --bare"),
    ("qemu --bare --kill-during-io", 2, "cannot be used with"),
    ("qemu --disk disk --kill-during-io", 2, "cannot be used with"),
    ("qemu --kill-during-io --rounds 0", 2, "0 is not in 1.."),
    ("qemu --rounds 5", 2, "--kill-during-io, or --scenario kills, slow-kills, faults or power-cut"),
    ("qemu --bare --seed 3", 2, "--kill-during-io"),
    ("qemu --scenario life --rounds 3", 2, "--scenario kills, slow-kills, faults or power-cut"),
    ("qemu --scenario faults --format qcow2", 2, "leave out --format"),
    ("qemu --scenario faults --read-only", 2, "leave out --read-only"),
    ("qemu --scenario faults --foreign plain", 2, "leave out --foreign"),
    ("qemu --points 3", 2, "--points needs --scenario power-cut"),
    ("qemu --scenario power-cut --no-flush", 2, "scenario power-cut flushes the disk: leave out --no-flush"),
    ("qemu --scenario power-cut --format qcow2", 2, "compares a raw image with the log: leave out --format qcow2"),
    ("power-cut --rounds 0", 2, "0 is not in 1..=2000"),
    ("qemu --example dance", 2, "[possible values: read-sector"),
    ("qemu --example two-disks --disk disk", 2, "--disk is about one disk, and example two-disks has 2"),
    ("qemu --example read-sector --bare", 2, "cannot be used with"),
    ("qemu --example read-sector --seed 3", 2, "--kill-during-io"),
    ("qemu --example read-sector --disk missing", 1, "missing: no such file"),
    ("qemu --scenario dance", 2, "[possible values: tour, large,"),
    ("qemu --scenario abuse --read-only", 2, "scenario abuse writes to the disk: leave out --read-only"),
    ("qemu --scenario large --block-size 4096", 2, "sectors of 512 bytes: leave out --block-size"),
    ("qemu --scenario flushes --no-flush", 2, "leave out --no-flush"),
    ("qemu --foreign kvmtool", 2, "[possible values: plain, one-segment, used-length-none"),
    ("qemu --foreign plain --disk disk", 2, "cannot be used with"),
    ("qemu --foreign plain --format qcow2", 2, "cannot be used with"),
    ("qemu --foreign plain --block-size 4096", 2, "cannot be used with"),
    ("qemu --foreign plain --no-flush", 2, "cannot be used with"),
    ("qemu --foreign plain --scenario overlap", 2, "leave out --foreign"),
    ("qemu --write", 2, "--write needs --disk <PATH|URL>"),
    ("qemu --kill-during-io --rounds -1", 2, "'-1' for '--rounds <N>': -1 is not in 1.."),
    ("qemu --dry-run --qemu ./missing", 1, "is missing; give --qemu another path"),
    ("qemu --smp=4 --verbose", 2, "--smp needs --bare"),
    ("qemu --verbose --poll --read-only", 2, "--poll needs --bare"),
    ("qemu --disk=", 2, "--disk"),
    ("qemu --disk disk --write --read-only", 2, "cannot be used with"),
    ("qemu --disk missing", 1, "missing: no such file"),
    ("qemu --disk .", 1, ".: is a directory"),
    ("qemu --disk /dev/null", 1, "/dev/null: is not a regular file"),
    ("qemu --disk vmdk", 1, "VMDK images are not supported"),
    ("qemu --disk disk --format qcow2", 1, "is not a qcow2 image"),
    ("qemu --disk disk --json ./disk", 1, "./disk: is the disk"),
    ("qemu --json no/such/dir/report", 1, "cannot write no/such/dir/report"),
    ("qemu --qemu ./missing", 1, "is missing; give --qemu another path"),
    ("qemu --qemu /bin/true", 1, "/bin/true: this program does not say a QEMU version"),
    ("qemu --qemu ./bare", 1, "./bare: QEMU has no OpenSBI firmware"),
    ("qemu --qemu ./old", 1, "./old: QEMU 6.2 is too old"),
    ("bench --bless --native", 2, "cannot be used with"),
    ("bench --profile --json rows", 2, "cannot be used with"),
    ("bench --json no/such/dir/rows", 1, "cannot write no/such/dir/rows"),
    ("bench --page ./disk", 1, "cannot make ./disk"),
    ("bench --qemu ./missing", 1, "is missing; give --qemu another path"),
    ("minix", 2, "[subcommands: check, install, help]"),
    ("minix check", 2, "<ELF>"),
    ("minix check missing", 1, "missing: No such file"),
    ("minix check disk", 1, "disk: not an ELF file"),
    ("minix install", 2, "<--tree <DIR>|--root <DIR>>"),
    ("minix install --tree . --root .", 2, "cannot be used with"),
    ("minix install --root . --obj .", 2, "cannot be used with"),
    ("minix install --tree missing", 1, "missing: No such file"),
    ("minix install --tree disk", 1, "disk: is no directory"),
    ("minix install --tree .", 1, ".: is no source tree of MINIX for riscv64: minix/drivers/storage/virtio_blk_mmio/Makefile is missing"),
    ("minix install --tree . --dry-run", 1, ".: is no source tree of MINIX"),
    ("minix install --root .", 1, ".: is no root file system of MINIX: service is missing"),
    ("minix install --root . --uninstall", 1, ".: nothing is installed: there is no record of it"),
    ("minix install --tree . --uninstall", 1, ".: nothing is installed: there is no record of it"),
    ("test ./none", 1, "no check has `./none`"),
];

/// The same where QEMU is started: a guest must come to an end, with a result.
#[rustfmt::skip]
const BOOTS: &[Case] = &[
    ("qemu --bare --qemu ./hangs --timeout 1", 1, "within 1 s"),
    ("qemu --bare --qemu ./ends", 1, "without a result"),
    ("qemu --bare --qemu ./refuses", 1, "bad option"),
    ("qemu --bare --qemu ./stops", 1, "without a result"),
    ("qemu --qemu ./hangs --timeout 1", 1, "within 1 s"),
    ("qemu --qemu ./stops", 1, "without a result"),
    ("qemu --qemu ./idles", 1, "look1 was never started"),
    ("qemu --qemu ./violates", 1, "violation of the protocol: two replies"),
    ("bench --bless --qemu ./refuses", 1, "bad option"),
    ("bench --bless --qemu ./ends", 1, "did not come to its end"),
];

/// What xtask does when a signal ends it: name, signal, arguments.
const SIGNALS: [(&str, Signal, &str); 7] = [
    ("building/interrupted", Signal::INT, "build"),
    ("testing/interrupted", Signal::TERM, "test build/virtio-core"),
    (
        "booting/interrupted",
        Signal::INT,
        "qemu --qemu ./waits --foreign plain",
    ),
    (
        "booting/example-interrupted",
        Signal::INT,
        "qemu --qemu ./waits --example read-sector",
    ),
    ("booting/bench-interrupted", Signal::INT, "bench --qemu ./waits"),
    ("booting/hung-up", Signal::HUP, "qemu --qemu ./waits"),
    ("booting/killed", Signal::KILL, "qemu --qemu ./waits --foreign plain"),
];

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![Check::new("usage/dry-run", |_| dry_run())];
    for (cases, booting) in [(CASES, false), (BOOTS, true)] {
        for case in cases {
            let guest = match case.0 {
                words if words.starts_with("bench") => Guest::Bench,
                words if words.contains("--bare") => Guest::Bare,
                _ => Guest::Minix,
            };
            checks.push(Check {
                boots: booting.then_some(guest),
                // No check may have `./none` in its name.
                ..Check::new(format!("usage/{}", case.0.replace("./", "")), move |_| mistake(case))
            });
        }
    }
    for (name, signal, arguments) in SIGNALS {
        let work = move |context: &Context| stopped(&context.workspace.scratch(), arguments, signal);
        checks.push(Check {
            boots: name.starts_with("booting").then_some(Guest::Minix),
            foreign: arguments.contains("--foreign"),
            ..Check::new(format!("usage/{name}"), work)
        });
    }
    checks
}

fn mistake(&(arguments, code, part): &Case) -> Verdict {
    let folder = Folder::new()?;
    let before = folder.disks()?;
    let output = xtask(folder.path(), arguments)?;
    refused(&output, code, part)?;
    match folder.disks()? == before {
        true => Ok(()),
        false => Err("a disk image has changed".to_owned()),
    }
}

/// xtask ended with this code, and one line of error that says why.
pub(super) fn refused(output: &Output, code: u8, part: &str) -> Verdict {
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    let says_why = matches!(errors[..], [line] if line.contains(part));
    if output.status.code() == Some(code.into()) && says_why {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(&output.stdout);
    Err(format!(
        "ended with {}, wanted {code} and one error with `{part}`\n{shown}{text}",
        output.status
    ))
}

/// The command line is printed whole, in one line, with nothing made or installed.
fn dry_run() -> Verdict {
    let folder = Folder::new()?;
    let output = xtask(folder.path(), "qemu --dry-run --legacy --qemu ./ends")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let whole = text.starts_with("./ends -machine virt ") && text.contains("force-legacy=true");
    if output.status.success() && whole && text.lines().count() == 1 {
        Ok(())
    } else {
        Err(text)
    }
}

/// A signal leaves neither processes nor files behind. `scratch` is where runs keep their files.
fn stopped(scratch: &Path, arguments: &str, signal: Signal) -> Verdict {
    let folder = Folder::new()?;
    let mut command = command(folder.path(), arguments)?;
    if !arguments.contains("--qemu") {
        command
            .env("REAL_CARGO", crate::workspace::cargo().get_program())
            .env("CARGO", folder.path().join("cargo"));
    }
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start xtask: {error}"))?;
    let busy = wait(60, || {
        let number = std::fs::read_to_string(folder.path().join("pid")).unwrap_or_default();
        number.ends_with('\n').then(|| number.trim().to_owned())
    });
    let number = child.id().to_string();
    let told = Pid::from_raw(child.id().cast_signed()).map(|xtask| kill_process(xtask, signal));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let (code, text) = (output.status.code(), String::from_utf8_lossy(&output.stderr));
    let busy = busy.ok_or_else(|| format!("nothing was started\n{text}"))?;
    if !matches!(told, Some(Ok(()))) {
        return Err("the signal could not be sent".to_owned());
    }
    let killed = signal == Signal::KILL;
    let once = text.ends_with("error: interrupted\n") && text.matches("error: ").count() == 1;
    if !killed && (code != Some(interrupt::EXIT_CODE.into()) || !once) {
        return Err(format!("ended with {code:?}\n{text}"));
    }
    let files = format!("run-{number}-");
    let is_gone = || (!runs(&busy) && !is_named_by_a_process(&files)).then_some(());
    // A process ends some time after its parent.
    wait(if killed { 10 } else { 0 }, is_gone).ok_or("a process is left behind")?;
    let mut left = std::fs::read_dir(scratch).into_iter().flatten().flatten();
    match left.find(|entry| entry.file_name().to_string_lossy().starts_with(&files)) {
        Some(entry) if !killed => Err(format!("{} is left behind", entry.path().display())),
        // The next run removes it.
        _ => Ok(()),
    }
}

/// Waits for an answer, for so many seconds.
pub(super) fn wait<T>(seconds: u64, answer: impl Fn() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let found = answer();
        if found.is_some() || started.elapsed() >= Duration::from_secs(seconds) {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the process of this number runs. One that has ended and was not waited for has no command line.
pub(super) fn runs(process: &str) -> bool {
    std::fs::read(Path::new("/proc").join(process).join("cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Whether a process has the text in its command line.
fn is_named_by_a_process(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(text))
}

/// A folder with all that the cases need.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Result<Folder, String> {
        let folder = Folder(tempfile::tempdir().map_err(|error| error.to_string())?);
        folder
            .fill()
            .map_err(|error| format!("cannot prepare the case: {error}"))?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) -> std::io::Result<()> {
        for (name, head, bytes) in DISKS {
            let mut content = head.to_owned();
            content.resize(bytes, 0);
            std::fs::write(self.path().join(name), content)?;
        }
        for (name, version, boot) in QEMUS {
            let firmware = if name == "bare" {
                Path::new("/nowhere")
            } else {
                self.path()
            }
            .display();
            let version = format!("--version) echo 'QEMU emulator version {version}';;");
            self.program(
                name,
                &format!("case $1 in\n{version}\n-L) echo '{firmware}';;\n*) {boot}\n;;\nesac"),
            )?;
        }
        std::fs::write(self.path().join("opensbi-riscv64-generic-fw_dynamic.bin"), "")?;
        // Its builds do not end.
        let builds = r#"if [ "$1" = build ]; then echo $$ >"${0%/*}/pid"; exec sleep 60; fi"#;
        self.program("cargo", &format!("{builds}\nexec \"$REAL_CARGO\" \"$@\""))
    }

    fn program(&self, name: &str, script: &str) -> std::io::Result<()> {
        let path = self.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
    }

    /// The content of the disk images.
    fn disks(&self) -> Result<Vec<Vec<u8>>, String> {
        let read = |(name, ..): (&str, _, _)| std::fs::read(self.path().join(name)).map_err(|error| error.to_string());
        DISKS.into_iter().map(read).collect()
    }
}

/// This very program, called the way a user calls it.
pub(super) fn xtask(directory: &Path, arguments: &str) -> Result<Output, String> {
    let output = command(directory, arguments)?.output();
    output.map_err(|error| format!("cannot start xtask: {error}"))
}

pub(super) fn command(directory: &Path, arguments: &str) -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find xtask itself: {error}"))?;
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(directory);
    Ok(command)
}
