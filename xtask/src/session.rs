//! A run from disk to verdict, of either guest. `cargo xtask qemu` does one; the test runner does many.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cli::QemuArgs;
use crate::console::Console;
use crate::defmt::{Frames, Strings};
use crate::disk::layout::Recipe;
use crate::disk::{self, Disk, Fingerprint, Input, Origin, Wish};
use crate::foreign::{self, Backend, Seen};
use crate::interrupt;
use crate::judge::Case;
use crate::machine::{self, Boot, Extras, Machine};
use crate::minix::archive;
use crate::minix::programs::Programs;
use crate::minix::scenario::Scenario;
use crate::progress::Progress;
use crate::report::{Guest, Host, Report};
use crate::run;
use crate::tools::Qemu;
use crate::trace;
use crate::verify::{Comparison, merged};

/// What a run needs that is the same for all runs.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) qemu: Qemu,
    /// The bare image, if there are runs of it.
    pub(crate) image: Option<PathBuf>,
    /// The test kernel and what it runs, if there are runs of it.
    pub(crate) programs: Option<Programs>,
    /// The back-end of foreign disks, if there are runs with one.
    pub(crate) backend: Option<PathBuf>,
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
    let disks = progress.step("preparing the disk", |_| make_disks(args, input, directory))?;
    let scenario = match args.bare {
        true => None,
        false => Some(Scenario::new(args, &disks, directory)?),
    };
    let boot = boot(setup, args, scenario.as_ref(), &disks, directory)?;
    let extras = extras(args, directory);
    let attachments: Vec<_> = disks.iter().map(|disk| disk.attachment.clone()).collect();
    let machine = Machine {
        args,
        program: &setup.qemu.program,
        boot: &boot,
        disks: &attachments,
        extras: &extras,
    };
    if args.verbose {
        let program = setup.backend.as_deref().unwrap_or(Path::new(""));
        for line in foreign::command_lines(program, args, &attachments) {
            console.side("xtask", &line);
        }
        console.side("xtask", &machine.command_line());
        let script = scenario.as_ref().map(Scenario::script).unwrap_or_default();
        for line in script.lines() {
            console.side("scenario", line);
        }
    }
    let unlimited = args.gdb || matches!(keyboard, run::Input::Terminal);
    let limit = (!unlimited).then(|| Duration::from_secs(args.timeout));
    let (strings, frames_file) = match &boot {
        Boot::Bare { image, defmt, .. } => (Strings::load(image)?, defmt.as_path()),
        Boot::Minix { .. } => (Strings::none(), directory),
    };
    let mut frames = Frames::follow(frames_file, &strings);
    let mut backends = Backend::start_all(setup.backend.as_deref(), args, &attachments)?;
    let ended = run::run(
        machine.command(),
        keyboard,
        limit,
        || backends.iter_mut().any(Backend::has_left_qemu),
        &mut frames,
        console,
        args.verbose,
    )?;
    let guest = match &boot {
        Boot::Bare { .. } => Guest::of_bare(&ended.records),
        Boot::Minix { .. } => Guest::of_minix(&ended.records),
    };
    let backends = backends.into_iter().map(Backend::finish).collect();
    let host = progress.step("checking the disk", |_| {
        examine(args, &disks, &extras, &guest, backends, directory)
    })?;
    let case = Case {
        args,
        scenario: scenario.as_ref(),
        disks: &disks,
        ended: &ended,
        guest: &guest,
        host: &host,
    };
    let mut reasons = case.reasons();
    if frames.count.damaged > 0 {
        reasons.push(format!("{} defmt frames make no sense", frames.count.damaged));
    }
    Ok(Report {
        passed: reasons.is_empty(),
        reasons,
        qemu_version: setup.qemu.version.to_string(),
        command_line: machine.command_line(),
        scenario: scenario.as_ref().map(Scenario::script),
        seconds: ended.duration.as_secs_f64(),
        exit_status: ended.status.and_then(|status| status.code()),
        defmt: frames.count,
        guest,
        host,
    })
}

/// The disks of a run: the user's, or what the guest needs.
pub(crate) fn wishes<'i>(args: &QemuArgs, input: Option<&'i Input>) -> Vec<Wish<'i>> {
    match input {
        Some(input) => vec![Wish::Given(input)],
        None if args.bare => vec![Wish::Made(Recipe::Bare)],
        None => args.scenario().disks().iter().copied().map(Wish::Made).collect(),
    }
}

/// What the scenario needs of the machine.
pub(crate) fn extras(args: &QemuArgs, directory: &Path) -> Extras {
    if args.bare {
        return Extras::default();
    }
    let mut extras = args.scenario().extras(directory);
    if args.foreign.is_some() {
        // QEMU does not see the requests; the back-end counts them.
        extras.trace = None;
    }
    extras
}

pub(crate) fn make_disks(args: &QemuArgs, input: Option<&Input>, directory: &Path) -> Result<Vec<Disk>> {
    let wishes = wishes(args, input).into_iter().enumerate();
    wishes
        .map(|(number, wish)| disk::make(args, wish, number, directory))
        .collect()
}

/// Brings together what is booted.
fn boot(setup: &Setup, args: &QemuArgs, scenario: Option<&Scenario>, disks: &[Disk], directory: &Path) -> Result<Boot> {
    match scenario {
        None => Ok(Boot::Bare {
            image: setup.image.clone().context("the bare image was not built")?,
            append: machine::boot_options(args, &disks.first().context("there is no disk")?.outline).to_string(),
            defmt: directory.join("defmt.bin"),
        }),
        Some(scenario) => {
            let programs = setup.programs.as_ref().context("the service was not built")?;
            let place = directory.join("boot.tar");
            archive::write(&place, &scenario.script(), programs)?;
            Ok(Boot::Minix {
                kernel: programs.kernel.clone(),
                archive: place,
            })
        }
    }
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

/// Looks at the disks after the run.
fn examine(
    args: &QemuArgs,
    disks: &[Disk],
    extras: &Extras,
    guest: &Guest,
    backends: Vec<Seen>,
    directory: &Path,
) -> Result<Host> {
    let flushes = |seen: &Seen| seen.report.as_ref().map(|report| report.flushes_after_writes);
    let mut host = Host {
        flushes_after_writes: backends.first().and_then(flushes),
        backends,
        ..Host::default()
    };
    if let Some(file) = &extras.trace {
        let seen = trace::read(file)?;
        host.requests_at_once = seen.map(|seen| seen.most_at_once);
        host.flushes_after_writes = seen.map(|seen| seen.flushes_after_writes);
    }
    for (number, disk) in disks.iter().enumerate() {
        if !args.shell {
            host.digests += disk.digests.len();
            for (range, expected) in &disk.digests {
                if guest.digest(number, *range) == Some(*expected) {
                    host.digests_equal += 1;
                    host.digested_sectors += range.count;
                }
            }
        }
        compare_files(number, disk, guest, &mut host);
        if disk.overlaid || matches!(disk.origin, Origin::Prepared { .. }) {
            let ledger = &guest.disks[number].ledger;
            let comparison = host.comparison.get_or_insert_with(Comparison::default);
            // A write that was reported may also have been lost on the way to where nothing is stored.
            let reported = ledger.defined().filter(|range| disk.whole().contains(*range));
            for range in merged(disk.touched()?.into_iter().chain(reported).collect()) {
                let mut before = disk.before(range, directory)?;
                let mut after = disk.after(range, directory)?;
                comparison.add(range, &mut before, &mut after, ledger)?;
            }
        }
        if let Origin::File { path, before, .. } = &disk.origin
            && !(args.write && args.shell)
        {
            host.file_unchanged = Some(Fingerprint::take(path)? == *before);
        }
    }
    Ok(host)
}

/// The files the guest found, against those the host made. A guest that reported none was not asked to look.
fn compare_files(number: usize, disk: &Disk, guest: &Guest, host: &mut Host) {
    let found = guest.minix.iter().flat_map(|minix| &minix.files);
    let found: Vec<_> = found.filter(|file| file.disk == number).collect();
    if found.is_empty() {
        return;
    }
    host.files += disk.files().len();
    for known in disk.files() {
        match found.iter().find(|file| file.path == known.path) {
            Some(file) if (file.bytes, file.value) == (known.bytes, known.crc64) => host.files_equal += 1,
            other => {
                let how = if other.is_some() { "differs" } else { "is missing" };
                host.first_wrong_file
                    .get_or_insert_with(|| format!("file {} {how} in the guest", known.path));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! A shell script plays QEMU, and with it the guest: it may do to the disk, and say, what it likes. What is tested is that
    //! only the truth passes.

    use crate::fake::{self, poke};
    use crate::report::Report;

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

    fn report_on(flags: &str, script: &str) -> Report {
        fake::report_on(&format!("--bare {flags}"), script)
    }

    /// The first reason why the guest fails.
    fn reason(flags: &str, script: &str) -> String {
        let report = report_on(flags, script);
        assert!(!report.passed, "{script}");
        report.reasons[0].clone()
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
        assert_eq!(
            reason("", &format!("{missing}{DONE}")),
            "the guest never read sectors 0 to 63"
        );
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

    /// A back-end that has seen this. The words are those of its command line.
    fn backend(seen: &vhost_user_disk::Report) -> String {
        let text = serde_json::to_string(seen).unwrap();
        format!("echo 'listening on it'\n[ $5 = --report ] && echo '{text}' >$6\n")
    }

    #[test]
    fn what_the_back_end_saw_counts() {
        let run = |backend: &str| {
            let guest = format!("{HONEST}{DONE}");
            fake::report_with_backend("--bare --foreign one-segment", &guest, ("", ""), backend)
        };
        let mut seen = vhost_user_disk::Report {
            reads: 5,
            flushes_after_writes: 2,
            ..Default::default()
        };
        let report = run(&backend(&seen));
        assert_eq!(report.reasons, Vec::<String>::new());
        assert_eq!(report.host.flushes_after_writes, Some(2));
        assert_eq!(report.host.backends[0].report.as_ref(), Some(&seen));
        seen.violations = 1;
        seen.described = vec!["a chain has 2 data descriptors, the device takes one".into()];
        assert_eq!(
            run(&backend(&seen)).reasons,
            ["the back-end of disk 0 saw 1 broken chains, first: a chain has 2 data descriptors, the device takes one"]
        );
        let died = run("echo 'listening on it'; echo 'error: gone' >&2; exit 2");
        assert_eq!(
            died.reasons,
            ["the back-end of disk 0 ended without a report: error: gone"]
        );
        // A guest that goes on without its disk is not waited for.
        let stuck = format!("{HONEST}exec sleep 1000\n");
        let (flags, gone) = (
            "--bare --foreign one-segment",
            "echo 'listening on it'; echo 'error: gone' >&2; exit 2",
        );
        let died = fake::report_with_backend(flags, &stuck, ("", ""), gone);
        assert_eq!(
            died.reasons[0],
            "the back-end of disk 0 ended without a report: error: gone"
        );
        let left = fake::report_with_backend(flags, &stuck, ("", ""), &backend(&vhost_user_disk::Report::default()));
        assert_eq!(left.reasons[0], "the back-end of a disk ended before the guest did");
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
