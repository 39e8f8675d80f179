//! A run from disk to verdict. `cargo xtask qemu` does one; the test runner does many.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use image_blk::options::SectorRange;

use crate::cli::QemuArgs;
use crate::console::Console;
use crate::defmt::{Frames, Strings};
use crate::disk::{self, Disk, Fingerprint, Input, Origin, PARTITIONS};
use crate::interrupt;
use crate::machine::{self, Machine, SERIAL};
use crate::progress::Progress;
use crate::report::{Guest, Host, Partition, Report};
use crate::run::{self, Ended};
use crate::tools::Qemu;
use crate::verify::Comparison;

/// What a run needs that is the same for all runs.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) qemu: Qemu,
    pub(crate) image: PathBuf,
    /// Where the directories of the runs are made.
    pub(crate) scratch: PathBuf,
}

/// One run, its console going to `console`.
pub(crate) fn run(
    setup: &Setup,
    args: &QemuArgs,
    input: Option<&Input>,
    keyboard: run::Input,
    console: &mut Console,
    progress: Progress,
) -> Result<Report> {
    interrupt::catch().context("cannot catch signals")?;
    let directory = run_directory(&setup.scratch)?;
    let directory = directory.path();
    let disk = progress.step("preparing the disk", |_| disk::make(args, input, directory))?;
    let boot = machine::boot_options(args, &disk.outline);
    let frames_file = directory.join("defmt.bin");
    let machine = Machine {
        args,
        program: &setup.qemu.program,
        image: &setup.image,
        disk: &disk.attachment,
        defmt: &frames_file,
        boot: &boot,
    };
    if args.verbose {
        console.side("xtask", &machine.command_line());
    }
    let unlimited = args.gdb || matches!(keyboard, run::Input::Terminal);
    let limit = (!unlimited).then(|| Duration::from_secs(args.timeout));
    let strings = Strings::load(&setup.image)?;
    let mut frames = Frames::follow(&frames_file, &strings);
    let ended = run::run(machine.command(), keyboard, limit, &mut frames, console, args.verbose)?;
    let guest = Guest::read(&ended.records);
    let host = progress.step("checking the disk", |_| examine(args, &disk, &guest, directory))?;
    let mut reasons = judge(args, &disk, &ended, &guest, &host);
    if frames.count.damaged > 0 {
        reasons.push(format!("{} defmt frames make no sense", frames.count.damaged));
    }
    Ok(Report {
        passed: reasons.is_empty(),
        reasons,
        qemu_version: setup.qemu.version.to_string(),
        command_line: machine.command_line(),
        seconds: ended.duration.as_secs_f64(),
        exit_status: ended.status.and_then(|status| status.code()),
        defmt: frames.count,
        guest,
        host,
    })
}

/// A directory of its own for a run, gone afterwards.
fn run_directory(scratch: &Path) -> Result<tempfile::TempDir> {
    let what = || format!("cannot make a directory in {}", scratch.display());
    std::fs::create_dir_all(scratch).with_context(what)?;
    let scratch = scratch.canonicalize().with_context(what)?;
    remove_abandoned(&scratch);
    tempfile::Builder::new()
        .prefix(&format!("run-{}-", std::process::id()))
        .tempdir_in(scratch)
        .with_context(what)
}

/// Removes what runs left that were killed outright: their directories name a process that is no more.
fn remove_abandoned(scratch: &Path) {
    if !Path::new("/proc/self").exists() {
        return;
    }
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix("run-")?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Looks at the disk after the run.
fn examine(args: &QemuArgs, disk: &Disk, guest: &Guest, directory: &Path) -> Result<Host> {
    let mut host = Host::default();
    if !args.shell {
        host.digests = disk.digests.len();
        for (range, expected) in &disk.digests {
            if guest.digest(*range) == Some(*expected) {
                host.digests_equal += 1;
                host.digested_sectors += range.count;
            }
        }
    }
    if disk.overlaid || matches!(disk.origin, Origin::Prepared) {
        let mut comparison = Comparison::default();
        for range in disk.touched()? {
            let mut before = disk.before(range, directory)?;
            let mut after = disk.after(range, directory)?;
            comparison.add(range, &mut before, &mut after, &guest.ledger)?;
        }
        host.comparison = Some(comparison);
    }
    if let Origin::File { path, before, .. } = &disk.origin
        && !(args.write && args.shell)
    {
        host.file_unchanged = Some(Fingerprint::take(path)? == *before);
    }
    Ok(host)
}

/// Every reason why the run is not a success.
fn judge(args: &QemuArgs, disk: &Disk, ended: &Ended, guest: &Guest, host: &Host) -> Vec<String> {
    let mut reasons = Vec::new();
    // The user's file comes first: nothing else matters as much.
    if host.file_unchanged == Some(false) {
        reasons.push("the disk image given with --disk has changed".to_owned());
    }
    for error in &guest.errors {
        reasons.push(format!(
            "the guest stopped at {}: {} ({})",
            error.stage, error.kind, error.text
        ));
    }
    judge_end(args, ended, guest, &mut reasons);
    for test in guest.tests.iter().filter(|test| test.result == "fail") {
        reasons.push(format!("test {} failed in the guest: {}", test.name, test.detail));
    }
    if !args.shell && guest.done.is_some() {
        judge_agreement(args, disk, guest, host, &mut reasons);
    }
    judge_changes(args, disk, guest, &mut reasons);
    if let Some(comparison) = &host.comparison {
        reasons.extend(comparison.differences.iter().cloned());
    }
    reasons.extend(guest.damaged.iter().map(|line| format!("damaged record: {line}")));
    reasons
}

/// How the run ended.
fn judge_end(args: &QemuArgs, ended: &Ended, guest: &Guest, reasons: &mut Vec<String>) {
    let Some(status) = ended.status else {
        reasons.push(format!(
            "the guest did not end within {} s and was stopped (--timeout sets the limit)",
            args.timeout
        ));
        return;
    };
    let quoted = |line: Option<&String>| line.map(|line| format!(": {line}")).unwrap_or_default();
    if !ended.spoke && !status.success() {
        // The first complaint is the cause, unless it only warns; those after it are what came of that.
        let cause = ended.complaints.iter().find(|line| !line.contains("warning:"));
        let complaint = quoted(cause.or(ended.complaints.last()));
        reasons.push(format!("QEMU did not start the guest{complaint}"));
        return;
    }
    let Some(code) = status.code() else {
        reasons.push(format!("QEMU was killed ({status})"));
        return;
    };
    match &guest.done {
        _ if args.shell => {}
        Some(done) if done.failed > 0 => reasons.push(format!("{} tests failed in the guest", done.failed)),
        Some(done) if done.passed == 0 => reasons.push("the guest ran no test".to_owned()),
        None if guest.errors.is_empty() => {
            let complaint = quoted(ended.complaints.last());
            reasons.push(format!("the guest ended without a result{complaint}"));
        }
        _ => {}
    }
    if code != 0 {
        reasons.push(format!("the guest powered off with status {code}"));
    }
}

/// Whether what the guest found is what the host set up.
fn judge_agreement(args: &QemuArgs, disk: &Disk, guest: &Guest, host: &Host, reasons: &mut Vec<String>) {
    if host.digests_equal < host.digests {
        let differing = disk
            .digests
            .iter()
            .find(|(range, expected)| guest.digest(*range) != Some(*expected));
        if let Some((SectorRange { first, count }, _)) = differing {
            reasons.push(format!(
                "sectors {first} to {} read differently in the guest and on the host",
                first + count - 1
            ));
        }
    }
    let Some(device) = &guest.device else {
        reasons.push("the guest reported no device".to_owned());
        return;
    };
    let version = if args.legacy { 1 } else { 2 };
    let facts = [
        ("register layout", u64::from(device.version), version),
        ("capacity in sectors", device.capacity_sectors, disk.sectors),
        ("block size", u64::from(device.block_bytes), u64::from(args.block_size)),
        (
            "read-only flag",
            u64::from(device.read_only),
            u64::from(disk.attachment.read_only),
        ),
    ];
    for (what, found, made) in facts {
        if found != made {
            reasons.push(format!("the guest found {what} {found}, the host set up {made}"));
        }
    }
    if device.id != SERIAL {
        reasons.push(format!(
            "the guest read the id `{}`, the host set `{SERIAL}`",
            device.id
        ));
    }
    if matches!(disk.origin, Origin::Prepared) {
        let made = PARTITIONS.iter().zip(0..).map(|((kind, range), index)| Partition {
            index,
            kind: *kind,
            first_sector: range.first,
            sectors: range.count,
        });
        if !made.eq(guest.partitions.iter().cloned()) {
            reasons.push("the guest did not find the partitions the host made".to_owned());
        }
    }
}

/// Whether the guest changed only what it may. In the shell a person types what to change.
fn judge_changes(args: &QemuArgs, disk: &Disk, guest: &Guest, reasons: &mut Vec<String>) {
    let allowed = if args.shell {
        Some(disk.whole())
    } else {
        disk.outline.scratch
    };
    let outside = guest
        .changes
        .iter()
        .find(|range| !allowed.is_some_and(|allowed| allowed.contains(**range)));
    if let Some(SectorRange { first, count }) = outside {
        reasons.push(format!(
            "the guest says it changed {count} sectors at {first}, which it may not"
        ));
    }
}

#[cfg(test)]
mod tests {
    //! A shell script plays QEMU, and with it the guest: it may do to the disk, and say, what it likes. What is tested is that
    //! only the truth passes.

    use super::*;
    use crate::cli::qemu_args;
    use std::os::unix::fs::PermissionsExt;

    /// Finds the disk in QEMU's command line, then the words of the boot line.
    const PROLOGUE: &str = r#"
for word in "$@"; do
  case $word in
    if=none,*) disk=${word#*file=}; disk=${disk%%,format=*};;
    mode=*) boot=$word;;
  esac
done
record() { printf '\036%s\n' "$*"; }
"#;

    /// What an honest guest says of a prepared disk it only reads. Digests are filled in by the test.
    const HONEST: &str = r"
echo 'hello from the guest'
record device version=2 offered=0x0 accepted=0x0 capacity=131072 block=512 queue=4 readonly=0 id=xtask-disk-0
record partition index=0 type=0x83 first=2048 count=32768
record partition index=1 type=0x81 first=34816 count=96256
record test name=read result=pass detail=
DIGESTS
";

    const DONE: &str = "record done passed=1 failed=0\n";

    /// The report on a guest that behaves like the script.
    fn report_on(flags: &str, script: &str) -> Report {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("qemu");
        // The digests an honest guest finds are those of the content a prepared disk is made with.
        let disk = disk::make(&qemu_args("", None).unwrap(), None, directory.path()).unwrap();
        let digests: String = (disk.digests.iter())
            .map(|(range, value)| {
                format!(
                    "record digest first={} count={} crc64={value:#x}\n",
                    range.first, range.count
                )
            })
            .collect();
        let script = script.replace("DIGESTS", &digests);
        std::fs::write(&program, format!("#!/bin/sh\n{PROLOGUE}{script}")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let setup = Setup {
            qemu: Qemu::assumed(&program),
            // Any program without defmt strings will do for an image.
            image: std::env::current_exe().unwrap(),
            scratch: directory.path().join("scratch"),
        };
        let args = qemu_args(flags, None).unwrap();
        let mut console = Console::memory();
        run(&setup, &args, None, run::Input::None, &mut console, Progress::Silent).unwrap()
    }

    /// The first reason why the guest fails.
    fn reason(flags: &str, script: &str) -> String {
        let report = report_on(flags, script);
        assert!(!report.passed, "{script}");
        report.reasons[0].clone()
    }

    /// Writes one byte at a place of the disk.
    fn poke(sector: u64) -> String {
        format!("printf X | dd of=\"$disk\" bs=512 seek={sector} conv=notrunc 2>/dev/null\n")
    }

    #[test]
    fn an_honest_guest_passes() {
        let report = report_on("", &format!("{HONEST}{DONE}"));
        assert_eq!(report.reasons, Vec::<String>::new());
        assert!(report.passed);
        assert_eq!((report.host.digests, report.host.digests_equal), (4, 4));
        let comparison = report.host.comparison.unwrap();
        assert_eq!((comparison.compared, comparison.unexpected), (131_072, 0));
    }

    #[test]
    fn a_change_that_is_not_reported_fails() {
        for sector in [0, 1, 65_536, 131_071] {
            let text = reason("", &format!("{HONEST}{}{DONE}", poke(sector)));
            assert!(text.starts_with(&format!("sector {sector} changed")), "{text}");
        }
    }

    #[test]
    fn a_report_without_the_change_fails() {
        let text = reason(
            "",
            &format!("{HONEST}record wrote first=65536 count=8 seed=0x1\n{DONE}"),
        );
        assert!(text.starts_with("sector 65536 should hold pattern 0x1"), "{text}");
    }

    #[test]
    fn a_reported_change_passes_only_in_the_scratch_region() {
        let zero = |sector: u64| {
            format!(
                "dd if=/dev/zero of=\"$disk\" bs=512 seek={sector} count=8 conv=notrunc 2>/dev/null\n\
                 record zeroed first={sector} count=8\n"
            )
        };
        let report = report_on("", &format!("{HONEST}{}{DONE}", zero(65_536)));
        assert_eq!(report.reasons, Vec::<String>::new());
        assert_eq!(report.host.comparison.unwrap().changed_as_reported, 8);
        for sector in [65_530, 81_920, 2048] {
            let text = reason("", &format!("{HONEST}{}{DONE}", zero(sector)));
            assert!(text.contains("which it may not"), "{text}");
        }
        let text = reason(
            "--read-only",
            &format!("{HONEST}{}{DONE}", zero(65_536)).replace("readonly=0", "readonly=1"),
        );
        assert!(text.contains("which it may not"), "{text}");
    }

    #[test]
    fn a_wrong_or_missing_digest_fails() {
        let wrong = HONEST.replace("DIGESTS", "record digest first=0 count=64 crc64=0x0");
        assert!(reason("", &format!("{wrong}{DONE}")).starts_with("sectors 0 to 63 read differently"));
        let missing = HONEST.replace("DIGESTS", "");
        assert!(reason("", &format!("{missing}{DONE}")).starts_with("sectors 0 to 63 read differently"));
    }

    #[test]
    fn a_guest_that_sees_another_disk_fails() {
        for (was, is, part) in [
            ("capacity=131072", "capacity=131071", "capacity"),
            ("version=2", "version=1", "register layout"),
            ("block=512", "block=4096", "block size"),
            ("readonly=0", "readonly=1", "read-only"),
            ("id=xtask-disk-0", "id=", "the id"),
            ("type=0x81", "type=0x82", "partitions"),
        ] {
            let text = reason("", &format!("{}{DONE}", HONEST.replace(was, is)));
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_guest_that_does_not_end_well_fails() {
        for (script, part) in [
            (HONEST.to_owned(), "without a result"),
            (format!("{HONEST}record done passed=1 failed=2\n"), "2 tests failed"),
            (format!("{HONEST}record done passed=0 failed=0\n"), "ran no test"),
            (format!("{HONEST}{DONE}exit 3\n"), "status 3"),
            (format!("{HONEST}{DONE}kill -9 $$\n"), "killed"),
            (format!("{HONEST}kill -9 $$\n"), "killed"),
            (
                format!("{HONEST}record test name=late result=fail detail=lost_one\n{DONE}"),
                "test late failed in the guest: lost one",
            ),
            (format!("{HONEST}record wrote first=1\n{DONE}"), "damaged record"),
            (
                "record error stage=init kind=queue-too-small text=a_b\nexit 1\n".to_owned(),
                "init: queue-too-small (a b)",
            ),
            (
                "echo 'qemu: warning: old' >&2; echo 'qemu: port in use' >&2; echo 'qemu: no gdb' >&2; exit 1\n"
                    .to_owned(),
                "did not start the guest: qemu: port in use",
            ),
            (format!("{HONEST}{DONE}exec sleep 60\n"), "within 1 s"),
        ] {
            let text = reason("--timeout 1", &script);
            assert!(text.contains(part), "{text}");
        }
    }
}
