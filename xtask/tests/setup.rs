//! `ci/setup.sh` on machines of many kinds: a folder stands for `/etc`, scripts for the programs that would change the machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// The programs of the system that the script may use.
const TOOLS: [&str; 6] = ["awk", "bash", "env", "rm", "sh", "tee"];

const ONE_LINE: &str = "\
# deb http://commented.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb http://other.example/debian bookworm-updates main
deb [arch=amd64 signed-by=/keys/archive.gpg] http://mirror.example/debian bookworm main contrib
";
const STANZAS: &str = "\
Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main

Types: deb
# a remark
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
";
const WITH_BACKPORTS: &str = "deb http://mirror.example/debian bookworm-backports main\n";
const SID: &str = "deb http://mirror.example/debian sid main\n";
const BACKPORT: &str = "installed 1:10.0.2+ds-2~bpo12+1";
const HALF: &str = "half-configured 1:10.0.2+ds-2~bpo12+1";

/// A machine, and what the script does on it: the case, the file in `/etc/apt` with its text, status and version of `qemu-utils`,
/// the word that apt must be given to find the packages, the programs that are there (a user is root unless there is sudo), the
/// last installation after the options that are always the same or part of the line of the failure, the source that is added.
type Case = (
    &'static str,
    (&'static str, &'static str),
    &'static str,
    &'static str,
    &'static str,
    Result<&'static str, &'static str>,
    Option<(&'static str, &'static str)>,
);

const MAIN: (&str, &str) = ("sources.list", ONE_LINE);
const MISC: &str = "qemu-system-misc";
const RISCV: &str = "qemu-system-riscv";
const SUITE: &str = "bookworm-backports";
const APT: &str = "apt-get";
const PLAIN: Result<&str, &str> = Ok("qemu-system-misc opensbi qemu-utils");
const NEWER: Result<&str, &str> = Ok("qemu-system-riscv opensbi qemu-utils");
const FROM_SUITE: Result<&str, &str> = Ok("-t bookworm-backports qemu-system-riscv opensbi qemu-utils");
const LINE_ADDED: (&str, &str) = (
    "bookworm-backports.list",
    "deb [arch=amd64 signed-by=/keys/archive.gpg] http://mirror.example/debian bookworm-backports main\n",
);
const STANZA_ADDED: (&str, &str) = (
    "bookworm-backports.sources",
    "URIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main contrib\n\
     Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n",
);

#[rustfmt::skip]
const CASES: [Case; 11] = [
    ("Debian 12", MAIN, "", MISC, APT, PLAIN, None),
    ("Debian 13, Ubuntu 25", MAIN, "", RISCV, APT, NEWER, None),
    ("by sudo", MAIN, "", MISC, "apt-get sudo", PLAIN, None),
    ("a backport that was removed", MAIN, "config-files 1:10.0.2+ds-2~bpo12+1", MISC, APT, PLAIN, None),
    ("a backport, one-line sources", MAIN, BACKPORT, SUITE, APT, FROM_SUITE, Some(LINE_ADDED)),
    ("a backport, stanzas", ("sources.list.d/debian.sources", STANZAS), BACKPORT, SUITE, APT, FROM_SUITE, Some(STANZA_ADDED)),
    ("half a backport, the suite is there", ("sources.list.d/more.list", WITH_BACKPORTS), HALF, SUITE, APT, FROM_SUITE, None),
    ("a backport, unknown archive", ("sources.list", SID), BACKPORT, SUITE, APT, Err("add the suite bookworm-backports"), None),
    ("a backport, no network", MAIN, BACKPORT, "nothing", APT, Err("is the network there"), None),
    ("neither root nor sudo", MAIN, "", MISC, "apt-get user", Err("there is no sudo"), None),
    ("Fedora", MAIN, "", MISC, "", Err("install QEMU 7.0 or newer"), None),
];

/// Makes a script that stands for a program.
fn program(bin: &Path, name: &str, text: &str) {
    fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The script, on a machine that has the programs in a folder alone.
fn setup(bin: &Path, log: &Path) -> Command {
    for tool in TOOLS {
        let found = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(tool));
        symlink(found.iter().find(|place| place.exists()).unwrap(), bin.join(tool)).unwrap();
    }
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/setup.sh"));
    command.env_clear().env("PATH", bin).env("LOG", log);
    command
}

#[test]
fn packages_that_are_named_are_installed_and_no_others() {
    let fits = ("named", MAIN, "", "nbdkit", APT, Ok("nbdkit"), None);
    check_named(fits, &["nbdkit"]);
    let missing = (
        "named",
        MAIN,
        "",
        "nothing",
        APT,
        Err("apt cannot install nbdkit"),
        None,
    );
    check_named(missing, &["nbdkit"]);
}

#[test]
fn each_machine_gets_the_packages_that_fit() {
    CASES.into_iter().for_each(check);
}

fn check(case: Case) {
    check_named(case, &[]);
}

fn check_named((name, sources, utils, fits, programs, outcome, wanted): Case, packages: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let (bin, etc) = (directory.path().join("bin"), directory.path().join("etc"));
    let parts = etc.join("apt/sources.list.d");
    fs::create_dir(&bin).unwrap();
    fs::create_dir_all(&parts).unwrap();
    fs::write(etc.join("os-release"), "ID=debian\nVERSION_CODENAME=bookworm\n").unwrap();
    fs::write(etc.join("apt").join(sources.0), sources.1).unwrap();
    let program = |name: &str, text: &str| program(&bin, name, text);
    program("dpkg", "echo \"dpkg $*\" >>$LOG");
    program("dpkg-query", &format!("echo '{}'", utils));
    let user = programs.contains("sudo") || programs.contains("user");
    program("id", if user { "echo 1000" } else { "echo 0" });
    if programs.contains("apt-get") {
        // Without the network `update` fails as well.
        let script = format!(
            "echo \"$*\" >>$LOG\ncase \" $* \" in *\" {} \"*) ;; *) exit 100;; esac",
            fits
        );
        program("apt-get", &script);
    }
    if programs.contains("sudo") {
        program("sudo", "echo sudo >>$LOG; exec \"$@\"");
    }
    let log = directory.path().join("log");
    let output = setup(&bin, &log)
        .args(packages)
        .env("SETUP_ETC", &etc)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let log = fs::read_to_string(log).unwrap_or_default();
    let told = format!("{}\n{said}\n{log}", name);

    assert_eq!(output.status.success(), outcome.is_ok(), "{told}");
    match outcome {
        Ok(packages) => {
            let last = log.lines().rfind(|line| line.contains(" install ")).unwrap();
            let fixed = "-o DPkg::Lock::Timeout=120 install --yes --no-install-recommends --fix-broken ";
            assert_eq!(last.strip_prefix(fixed), Some(packages), "{told}");
            assert!(log.contains("dpkg --configure -a"), "{told}");
        }
        Err(part) => {
            let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("ci/setup.sh: ")).collect();
            assert!(matches!(errors[..], [line] if line.contains(part)), "{told}");
        }
    }
    assert_eq!(log.contains("sudo"), programs.contains("sudo"), "{told}");
    let given = Path::new(sources.0).file_name();
    let mut added = fs::read_dir(parts)
        .unwrap()
        .flatten()
        .filter(|file| Some(&*file.file_name()) != given);
    let added = added
        .next()
        .map(|file| (file.file_name(), fs::read_to_string(file.path()).unwrap()));
    match (wanted, &added) {
        (None, None) => {}
        (Some((file, text)), Some(found)) => assert!(found.0 == file && found.1.contains(text), "{told}\n{added:?}"),
        _ => panic!("{told}\n{added:?}"),
    }
}
