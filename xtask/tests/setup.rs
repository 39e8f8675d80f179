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
const BACKPORT: &str = "installed 1:10.0.2+ds-2~bpo12+1";

/// A machine, and what the script does on it.
struct Case {
    name: &'static str,
    /// File in `/etc/apt`, and its text.
    sources: (&'static str, &'static str),
    /// Status and version of `qemu-utils`.
    utils: &'static str,
    /// The word that apt must be given to find the packages: one of the emulator's, or a suite.
    fits: &'static str,
    /// The programs apt-get and sudo, as far as they are there; a user is root unless there is sudo.
    programs: &'static str,
    /// The last installation, after the options that are always the same; or part of the line of the failure.
    outcome: Result<&'static str, &'static str>,
    /// The source that is there afterwards, by its name, and part of its text.
    added: Option<(&'static str, &'static str)>,
}

const PLAIN: Case = Case {
    name: "",
    sources: ("sources.list", ONE_LINE),
    utils: "",
    fits: "qemu-system-misc",
    programs: "apt-get",
    outcome: Ok("qemu-system-misc opensbi qemu-utils"),
    added: None,
};

#[test]
fn each_machine_gets_the_packages_that_fit() {
    let backports = Ok("-t bookworm-backports qemu-system-riscv opensbi qemu-utils");
    for case in [
        Case {
            name: "Debian 12",
            ..PLAIN
        },
        Case {
            name: "Debian 13, Ubuntu 25",
            fits: "qemu-system-riscv",
            outcome: Ok("qemu-system-riscv opensbi qemu-utils"),
            ..PLAIN
        },
        Case {
            name: "a backport that was removed",
            utils: "config-files 1:10.0.2+ds-2~bpo12+1",
            ..PLAIN
        },
        Case {
            name: "by sudo",
            programs: "apt-get sudo",
            ..PLAIN
        },
        Case {
            name: "a backport, sources in one line",
            utils: BACKPORT,
            fits: "bookworm-backports",
            outcome: backports,
            added: Some((
                "bookworm-backports.list",
                "deb [arch=amd64 signed-by=/keys/archive.gpg] http://mirror.example/debian bookworm-backports main\n",
            )),
            ..PLAIN
        },
        Case {
            name: "a backport, sources in stanzas",
            sources: ("sources.list.d/debian.sources", STANZAS),
            utils: BACKPORT,
            fits: "bookworm-backports",
            outcome: backports,
            added: Some((
                "bookworm-backports.sources",
                "URIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main contrib\n\
                 Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n",
            )),
            ..PLAIN
        },
        Case {
            name: "a backport that was installed half-way, the suite is there",
            sources: ("sources.list.d/more.list", WITH_BACKPORTS),
            utils: "half-configured 1:10.0.2+ds-2~bpo12+1",
            fits: "bookworm-backports",
            outcome: backports,
            ..PLAIN
        },
        Case {
            name: "a backport, the archive is unknown",
            sources: ("sources.list", "deb http://mirror.example/debian sid main\n"),
            utils: BACKPORT,
            outcome: Err("add the suite bookworm-backports"),
            ..PLAIN
        },
        Case {
            name: "a backport, no network",
            utils: BACKPORT,
            fits: "nothing",
            outcome: Err("is the network there"),
            ..PLAIN
        },
        Case {
            name: "neither root nor sudo",
            programs: "apt-get user",
            outcome: Err("there is no sudo"),
            ..PLAIN
        },
        Case {
            name: "Fedora",
            programs: "",
            outcome: Err("install QEMU 7.0 or newer"),
            ..PLAIN
        },
    ] {
        check(&case);
    }
}

fn check(case: &Case) {
    let directory = tempfile::tempdir().unwrap();
    let (bin, etc) = (directory.path().join("bin"), directory.path().join("etc"));
    let parts = etc.join("apt/sources.list.d");
    fs::create_dir(&bin).unwrap();
    fs::create_dir_all(&parts).unwrap();
    fs::write(etc.join("os-release"), "ID=debian\nVERSION_CODENAME=bookworm\n").unwrap();
    fs::write(etc.join("apt").join(case.sources.0), case.sources.1).unwrap();
    for tool in TOOLS {
        let found = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(tool));
        symlink(found.iter().find(|place| place.exists()).unwrap(), bin.join(tool)).unwrap();
    }
    let program = |name: &str, text: &str| {
        fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("dpkg", "echo \"dpkg $*\" >>$LOG");
    program("dpkg-query", &format!("echo '{}'", case.utils));
    let user = case.programs.contains("sudo") || case.programs.contains("user");
    program("id", if user { "echo 1000" } else { "echo 0" });
    if case.programs.contains("apt-get") {
        // Without the network `update` fails as well.
        let script = format!(
            "echo \"$*\" >>$LOG\ncase \" $* \" in *\" {} \"*) ;; *) exit 100;; esac",
            case.fits
        );
        program("apt-get", &script);
    }
    if case.programs.contains("sudo") {
        program("sudo", "echo sudo >>$LOG; exec \"$@\"");
    }
    let log = directory.path().join("log");
    let output = Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/setup.sh"))
        .env_clear()
        .env("PATH", &bin)
        .env("SETUP_ETC", &etc)
        .env("LOG", &log)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let log = fs::read_to_string(log).unwrap_or_default();
    let told = format!("{}\n{said}\n{log}", case.name);

    assert_eq!(output.status.success(), case.outcome.is_ok(), "{told}");
    match case.outcome {
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
    assert_eq!(log.contains("sudo"), case.programs.contains("sudo"), "{told}");
    let given = Path::new(case.sources.0).file_name();
    let mut added = fs::read_dir(parts)
        .unwrap()
        .flatten()
        .filter(|file| Some(&*file.file_name()) != given);
    let added = added
        .next()
        .map(|file| (file.file_name(), fs::read_to_string(file.path()).unwrap()));
    match (case.added, &added) {
        (None, None) => {}
        (Some((name, text)), Some(found)) => assert!(found.0 == name && found.1.contains(text), "{told}\n{added:?}"),
        _ => panic!("{told}\n{added:?}"),
    }
}
