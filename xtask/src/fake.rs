//! A shell script in the place of QEMU and the guest, for tests: it writes any content to the disk, and prints any record.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use guest_protocol::Record;

use crate::cli::qemu_args;
use crate::console::Console;
use crate::minix::programs::Programs;
use crate::progress::Progress;
use crate::report::Report;
use crate::run;
use crate::session::{self, Setup};
use crate::tools::Qemu;

/// Finds the disks in QEMU's command line.
const PROLOGUE: &str = r#"
for word in "$@"; do
  case $word in
    if=none,id=d0,*) disk=${word#*file=}; disk=${disk%%,format=*};;
    if=none,id=d1,*) disk1=${word#*file=}; disk1=${disk1%%,format=*};;
  esac
done
record() { printf '\036%s\n' "$1"; }
"#;

/// The records of an honest guest about digests and files on the first disk: with the test kernel, and with the bare image.
static HONEST: LazyLock<[(String, String); 2]> = LazyLock::new(|| {
    ["", "--bare"].map(|flags| {
        let directory = tempfile::tempdir().unwrap();
        let args = qemu_args(flags, None).unwrap();
        let disk = session::make_disks(&args, None, directory.path()).unwrap().remove(0);
        let digests = disk.digests.iter();
        let digests = digests.map(|&(range, crc64)| said(&Record::Digest { range, crc64 }));
        let files = disk.files().iter().map(|file| {
            said(&Record::File {
                path: &file.path,
                bytes: file.bytes,
                crc64: file.crc64,
            })
        });
        (digests.collect(), files.collect())
    })
});

/// The report on a guest that behaves like the script. `DIGESTS` in it stands for the digests that an honest guest finds on the
/// first disk, `FILES` for the files.
pub(crate) fn report_on(flags: &str, script: &str) -> Report {
    report_on_changed(flags, script, ("", ""))
}

/// The same, with the first occurrence of a text replaced by another once the script is whole.
pub(crate) fn report_on_changed(flags: &str, script: &str, change: (&str, &str)) -> Report {
    report_with_backend(flags, script, change, "")
}

/// The same, with a script in the place of the back-end of the disk.
pub(crate) fn report_with_backend(flags: &str, script: &str, (was, is): (&str, &str), backend: &str) -> Report {
    let directory = tempfile::tempdir().unwrap();
    let args = qemu_args(flags, None).unwrap();
    let (digests, files) = &HONEST[usize::from(args.bare)];
    let script = script.replace("DIGESTS", digests).replace("FILES", files);
    assert!(script.contains(was), "{was}");
    let script = script.replacen(was, is, 1);
    let setup = Setup {
        qemu: Qemu {
            program: program(directory.path(), "qemu", &format!("{PROLOGUE}{script}")),
            version: String::new(),
        },
        // Any program without defmt strings will do for an image.
        image: Some(std::env::current_exe().unwrap()),
        programs: Some(programs(directory.path())),
        backend: Some(program(directory.path(), "backend", backend)),
        scratch: directory.path().join("scratch"),
    };
    let mut console = Console::default();
    session::run(&setup, &args, None, run::Input::None, &mut console, Progress::Silent).unwrap()
}

fn said(record: &Record<'_>) -> String {
    format!("record '{}'\n", serde_json::to_string(record).unwrap())
}

/// Writes one byte at a place of the first disk.
pub(crate) fn poke(sector: u64) -> String {
    format!("printf X | dd of=\"$disk\" bs=512 seek={sector} conv=notrunc 2>/dev/null\n")
}

/// Files in the place of everything the test kernel boots with.
fn programs(directory: &Path) -> Programs {
    let file = program(directory, "file", "");
    Programs {
        kernel: file.clone(),
        system_conf: file.clone(),
        clients_conf: file.clone(),
        processes: vec![file],
    }
}

fn program(directory: &Path, name: &str, script: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}
