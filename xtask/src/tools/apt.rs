//! Installing QEMU on Debian and Ubuntu.
//!
//! The parts of QEMU must come from one release. A machine whose `qemu-utils` came from the backports suite can take the
//! emulator only from there too: apt, which prefers the plain release, would stop with "unmet dependencies". So the version
//! of what is installed decides, and where the suite is not configured, it is added beside the archive it belongs to.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::os::{self, Release};
use super::sources::{self, Source};
use super::{Missing, qemu};
use crate::progress::{Progress, Step};

/// The package of the emulator in releases that give RISC-V a package of its own.
const RISCV_PACKAGE: &str = "qemu-system-riscv";
/// The package of the emulator in releases that do not.
const MISC_PACKAGE: &str = "qemu-system-misc";
const FIRMWARE_PACKAGE: &str = "opensbi";
const UTILS_PACKAGE: &str = "qemu-utils";

/// The first major version of QEMU that Debian built with [`RISCV_PACKAGE`] from its beginning.
const SPLIT_SINCE: u32 = 10;
/// The first releases with [`RISCV_PACKAGE`].
const SPLIT_RELEASES: [(&str, u32); 2] = [("debian", 13), ("ubuntu", 25)];
/// How long apt waits for another apt, as one runs by itself on many a machine that has just been started.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=120";

/// What is known of the machine before anything is decided.
#[derive(Clone, Debug, Default)]
struct Machine {
    release: Release,
    sources: Vec<Source>,
    /// Version of the installed `qemu-utils`.
    utils: Option<String>,
    /// Version of [`RISCV_PACKAGE`] that apt would take.
    riscv_candidate: Option<String>,
    /// Version of [`MISC_PACKAGE`] that apt would take. None if apt has no lists yet.
    misc_candidate: Option<String>,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    /// A source to add first: file and content.
    source: Option<(PathBuf, String)>,
    /// The suite to prefer.
    suite: Option<String>,
    packages: Vec<&'static str>,
}

/// Installs what is missing, or says how.
pub(super) fn install(missing: Missing, may_install: bool, progress: Progress) -> Result<()> {
    let release = Release::of_this_machine();
    if !release.debian_like || os::find_program("apt-get").is_none() {
        bail!(
            "{missing}: install QEMU 7.0 or newer for riscv64 with OpenSBI, and qemu-img, with the package manager of this system"
        );
    }
    if !os::is_root() || !may_install {
        let plan = Plan::new(missing, &Machine::look(release))?;
        let sudo = if os::is_root() { "" } else { "sudo " };
        bail!("{missing}; to install it, type: {}", plan.command_line(sudo));
    }
    progress.step("installing QEMU", |step| {
        // First, as a fresh machine may have no lists, and then nobody knows which package holds what. If it fails, over a
        // third party's archive perhaps, what is needed may be there all the same.
        if let Err(error) = apt_get(step, &["update"]) {
            step.say(&format!("going on although {error}"));
        }
        let plan = Plan::new(missing, &Machine::look(release))?;
        step.say(&format!("{missing}: installing {} with apt", plan.packages.join(", ")));
        plan.carry_out(step)
    })
}

impl Machine {
    fn look(release: Release) -> Machine {
        Machine {
            release,
            sources: sources::of_this_machine(),
            utils: installed_version(UTILS_PACKAGE),
            riscv_candidate: candidate_version(RISCV_PACKAGE),
            misc_candidate: candidate_version(MISC_PACKAGE),
        }
    }
}

impl Plan {
    fn new(missing: Missing, machine: &Machine) -> Result<Plan> {
        let backported = machine.utils.as_deref().filter(|version| version.contains("~bpo"));
        let mut plan = Plan {
            source: None,
            suite: None,
            packages: Vec::new(),
        };
        if let Some(version) = backported {
            let suite = format!("{}-backports", machine.release.codename);
            if !sources::have_suite(&machine.sources, &suite) {
                let Some(text) = sources::sibling_suite(&machine.sources, &machine.release.codename, &suite) else {
                    bail!(
                        "{missing}; the installed {UTILS_PACKAGE} {version} is a backport, so QEMU must come from the suite {suite}: \
                         add it to the sources of apt and try again"
                    );
                };
                plan.source = Some((PathBuf::from(format!("/etc/apt/sources.list.d/{suite}.sources")), text));
            }
            plan.suite = Some(suite);
        }
        match missing.emulator {
            Some(qemu::Unusable::NoFirmware) => plan.packages.push(FIRMWARE_PACKAGE),
            Some(_) => plan
                .packages
                .extend([emulator_package(backported, machine), FIRMWARE_PACKAGE]),
            None => {}
        }
        if missing.image_tool || machine.utils.is_none() {
            plan.packages.push(UTILS_PACKAGE);
        }
        Ok(plan)
    }

    fn install_arguments(&self) -> Vec<&str> {
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        if let Some(suite) = &self.suite {
            arguments.extend(["-t", suite]);
        }
        arguments.extend(&self.packages);
        arguments
    }

    /// The whole plan for a person to type; `sudo` goes before what only root may do.
    fn command_line(&self, sudo: &str) -> String {
        let mut line = String::new();
        if let Some((file, text)) = &self.source {
            let quoted: Vec<String> = text.lines().map(|text| format!("'{text}'")).collect();
            line += &format!("printf '%s\\n' {} | {sudo}tee {} && ", quoted.join(" "), file.display());
        }
        line + &format!(
            "{sudo}apt-get update && {sudo}apt-get {}",
            self.install_arguments().join(" ")
        )
    }

    fn carry_out(&self, step: &Step) -> Result<()> {
        if let Some((file, text)) = &self.source {
            step.say(&format!(
                "adding {} (the installed {UTILS_PACKAGE} came from that suite)",
                file.display()
            ));
            std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let lists = if self.source.is_some() {
            apt_get(step, &["update"])
        } else {
            Ok(())
        };
        let outcome = lists.and_then(|()| apt_get(step, &self.install_arguments()));
        if outcome.is_err()
            && let Some((file, _)) = &self.source
        {
            // A suite that did not help is not left behind, nor its lists.
            remove_source(step, file);
        }
        outcome
    }
}

fn remove_source(step: &Step, file: &Path) {
    if std::fs::remove_file(file).is_ok() {
        let _ = apt_get(step, &["update"]);
    }
}

/// Which package holds the emulator. `backported` is the version of `qemu-utils` if that is a backport.
fn emulator_package(backported: Option<&str>, machine: &Machine) -> &'static str {
    let riscv = machine.riscv_candidate.as_deref();
    let split = match backported {
        Some(version) => {
            riscv.is_some_and(|version| version.contains("~bpo"))
                || upstream_major(version).is_some_and(|major| major >= SPLIT_SINCE)
        }
        None if riscv.is_none() && machine.misc_candidate.is_none() => machine.release.is_since(&SPLIT_RELEASES),
        // A candidate that is a backport belongs to a suite this machine's QEMU does not come from.
        None => riscv.is_some_and(|version| !version.contains("~bpo")),
    };
    if split { RISCV_PACKAGE } else { MISC_PACKAGE }
}

/// `1:10.0.2+ds-2` is 10.
fn upstream_major(version: &str) -> Option<u32> {
    let upstream = version.split_once(':').map_or(version, |(_, after)| after);
    upstream.split('.').next()?.parse().ok()
}

fn apt_get(step: &Step, arguments: &[&str]) -> Result<()> {
    let line = format!("apt-get {}", arguments.join(" "));
    step.say(&format!("running {line}"));
    let finished = step.command(
        Command::new("apt-get")
            .args(["-o", LOCK_TIMEOUT])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C"),
    )?;
    if !finished.status.success() {
        step.say(finished.output.trim_end());
        bail!("`{line}` failed, see above");
    }
    Ok(())
}

fn installed_version(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Status}|${Version}", package])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.strip_prefix("install ok installed|").map(str::to_owned)
}

fn candidate_version(package: &str) -> Option<String> {
    let output = Command::new("apt-cache")
        .args(["policy", package])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let candidate = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (candidate != "(none)").then(|| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_EMULATOR: Missing = Missing {
        emulator: Some(qemu::Unusable::NotFound),
        image_tool: false,
    };

    fn machine(utils: Option<&str>, riscv_candidate: Option<&str>, suites: &[&str]) -> Machine {
        Machine {
            release: Release {
                codename: "bookworm".into(),
                ..Release::default()
            },
            sources: vec![Source {
                uris: vec!["http://mirror.example/debian".into()],
                suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
                components: vec!["main".into()],
                signed_by: Some("/usr/share/keyrings/archive.gpg".into()),
            }],
            utils: utils.map(str::to_owned),
            riscv_candidate: riscv_candidate.map(str::to_owned),
            misc_candidate: Some("1:7.2+dfsg-7+deb12u18".into()),
        }
    }

    #[test]
    fn a_fresh_debian_12_takes_the_plain_packages() {
        let plan = Plan::new(NO_EMULATOR, &machine(None, None, &["bookworm"])).unwrap();
        assert_eq!(
            plan,
            Plan {
                source: None,
                suite: None,
                packages: vec![MISC_PACKAGE, FIRMWARE_PACKAGE, UTILS_PACKAGE]
            }
        );
        assert_eq!(
            plan.command_line("sudo "),
            "sudo apt-get update && sudo apt-get install --yes --no-install-recommends qemu-system-misc opensbi qemu-utils"
        );
        assert!(!plan.command_line("").contains("sudo"));
    }

    #[test]
    fn newer_releases_have_a_package_for_riscv() {
        let plan = Plan::new(NO_EMULATOR, &machine(None, Some("1:10.0.2+ds-2"), &["trixie"])).unwrap();
        assert_eq!(plan.packages[0], RISCV_PACKAGE);
        // The backports suite is configured, but this machine's QEMU is the plain one.
        let utils = Some("1:7.2+dfsg-7+deb12u18");
        let plan = Plan::new(
            NO_EMULATOR,
            &machine(utils, Some("1:10.0.2+ds-2~bpo12+1"), &["bookworm"]),
        )
        .unwrap();
        assert_eq!(
            (plan.suite, plan.packages),
            (None, vec![MISC_PACKAGE, FIRMWARE_PACKAGE])
        );
    }

    #[test]
    fn without_lists_the_release_decides() {
        let package = |release: &str| {
            let mut fresh = machine(None, None, &["any"]);
            fresh.release = Release::parse(release);
            fresh.misc_candidate = None;
            Plan::new(NO_EMULATOR, &fresh).unwrap().packages[0]
        };
        assert_eq!(package("ID=debian\nVERSION_ID=\"12\""), MISC_PACKAGE);
        assert_eq!(package("ID=debian\nVERSION_ID=\"13\""), RISCV_PACKAGE);
        assert_eq!(package("ID=ubuntu\nVERSION_ID=\"24.04\""), MISC_PACKAGE);
        assert_eq!(package("ID=ubuntu\nVERSION_ID=\"25.10\""), RISCV_PACKAGE);
        // Debian before its release has a name and no number.
        assert_eq!(package("ID=debian\nVERSION_CODENAME=forky"), RISCV_PACKAGE);
        assert_eq!(package("ID=other\nID_LIKE=debian\nVERSION_ID=99"), MISC_PACKAGE);
    }

    #[test]
    fn a_backported_qemu_utils_decides_the_suite() {
        let utils = Some("1:10.0.2+ds-2+deb13u1~bpo12+1");
        let plan = Plan::new(NO_EMULATOR, &machine(utils, None, &["bookworm"])).unwrap();
        assert_eq!(plan.suite.as_deref(), Some("bookworm-backports"));
        assert_eq!(plan.packages, [RISCV_PACKAGE, FIRMWARE_PACKAGE]);
        let (file, text) = plan.source.clone().unwrap();
        assert_eq!(file, Path::new("/etc/apt/sources.list.d/bookworm-backports.sources"));
        assert!(
            text.contains("URIs: http://mirror.example/debian\nSuites: bookworm-backports\n"),
            "{text}"
        );
        let line = plan.command_line("sudo ");
        assert!(
            line.contains("'Suites: bookworm-backports'")
                && line.contains("-t bookworm-backports qemu-system-riscv opensbi")
        );

        let there = Plan::new(NO_EMULATOR, &machine(utils, None, &["bookworm", "bookworm-backports"])).unwrap();
        assert_eq!((there.source, there.suite), (None, plan.suite));

        let error = Plan::new(NO_EMULATOR, &machine(utils, None, &["sid"])).unwrap_err();
        assert!(error.to_string().contains("bookworm-backports"), "{error}");

        // The suite has moved on since qemu-utils was installed.
        let utils = Some("1:8.2.1+ds-1~bpo12+1");
        let moved = machine(utils, Some("1:10.0.2+ds-2~bpo12+1"), &["bookworm-backports"]);
        assert_eq!(Plan::new(NO_EMULATOR, &moved).unwrap().packages[0], RISCV_PACKAGE);

        let older = machine(Some("1:7.2+dfsg-7~bpo11+1"), None, &["bookworm-backports"]);
        assert_eq!(Plan::new(NO_EMULATOR, &older).unwrap().packages[0], MISC_PACKAGE);
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        let firmware = Missing {
            emulator: Some(qemu::Unusable::NoFirmware),
            image_tool: false,
        };
        let with_utils = machine(Some("1:7.2"), None, &["bookworm"]);
        assert_eq!(Plan::new(firmware, &with_utils).unwrap().packages, [FIRMWARE_PACKAGE]);
        let image_tool = Missing {
            emulator: None,
            image_tool: true,
        };
        assert_eq!(
            Plan::new(image_tool, &machine(None, None, &["bookworm"]))
                .unwrap()
                .packages,
            [UTILS_PACKAGE]
        );
    }
}
