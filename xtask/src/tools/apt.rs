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

/// The first major version of QEMU that Debian built with [`RISCV_PACKAGE`].
const SPLIT_SINCE: u32 = 10;

/// What is known of the machine before anything is decided.
#[derive(Clone, Debug, Default)]
struct Machine {
    codename: String,
    sources: Vec<Source>,
    /// Version of the installed `qemu-utils`.
    utils: Option<String>,
    /// Version of [`RISCV_PACKAGE`] that apt would take.
    riscv_candidate: Option<String>,
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
    let plan = Plan::new(missing, &Machine::look(release.codename))?;
    if !os::is_root() || !may_install {
        bail!("{missing}; to install it, type: {}", plan.command_line());
    }
    eprintln!("{missing}: installing {} with apt", plan.packages.join(", "));
    progress.step("installing QEMU", |step| plan.carry_out(step))
}

impl Machine {
    fn look(codename: String) -> Machine {
        Machine {
            codename,
            sources: sources::of_this_machine(),
            utils: installed_version(UTILS_PACKAGE),
            riscv_candidate: candidate_version(RISCV_PACKAGE),
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
            let suite = format!("{}-backports", machine.codename);
            if !sources::have_suite(&machine.sources, &suite) {
                let Some(text) = sources::sibling_suite(&machine.sources, &machine.codename, &suite) else {
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

    /// The whole plan for a person with sudo.
    fn command_line(&self) -> String {
        let mut line = String::new();
        if let Some((file, text)) = &self.source {
            let quoted: Vec<String> = text.lines().map(|text| format!("'{text}'")).collect();
            line += &format!("printf '%s\\n' {} | sudo tee {} && ", quoted.join(" "), file.display());
        }
        line + &format!(
            "sudo apt-get update && sudo apt-get {}",
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
        let outcome = apt_get(step, &["update"]).and_then(|()| apt_get(step, &self.install_arguments()));
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
    let split = match backported {
        Some(version) => upstream_major(version).is_some_and(|major| major >= SPLIT_SINCE),
        // A candidate that is a backport belongs to a suite this machine's QEMU does not come from.
        None => machine
            .riscv_candidate
            .as_deref()
            .is_some_and(|version| !version.contains("~bpo")),
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
            codename: "bookworm".into(),
            sources: vec![Source {
                uris: vec!["http://mirror.example/debian".into()],
                suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
                components: vec!["main".into()],
                signed_by: Some("/usr/share/keyrings/archive.gpg".into()),
            }],
            utils: utils.map(str::to_owned),
            riscv_candidate: riscv_candidate.map(str::to_owned),
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
            plan.command_line(),
            "sudo apt-get update && sudo apt-get install --yes --no-install-recommends qemu-system-misc opensbi qemu-utils"
        );
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
        let line = plan.command_line();
        assert!(
            line.contains("'Suites: bookworm-backports'")
                && line.contains("-t bookworm-backports qemu-system-riscv opensbi")
        );

        let there = Plan::new(NO_EMULATOR, &machine(utils, None, &["bookworm", "bookworm-backports"])).unwrap();
        assert_eq!((there.source, there.suite), (None, plan.suite));

        let error = Plan::new(NO_EMULATOR, &machine(utils, None, &["sid"])).unwrap_err();
        assert!(error.to_string().contains("bookworm-backports"), "{error}");

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
