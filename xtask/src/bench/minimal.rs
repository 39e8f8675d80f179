//! The smallest user of the driver, beside the same program on another driver.
//!
//! The crate `minimal-user` has the programs. What a program has without any driver, as an empty one has it, is not counted.

use std::path::PathBuf;

use anyhow::Result;

use super::row::Row;
use super::sizes::Size;
use crate::build;
use crate::progress::Progress;
use crate::workspace::{RISCV, Workspace};

/// The crate of the programs.
const CRATE: &str = "minimal-user";
/// The user of the driver.
pub(crate) const USER: &str = "minimal-user";
/// The same program on the other driver.
pub(crate) const RIVAL: &str = "minimal-virtio-drivers";
/// A program without a driver.
const EMPTY: &str = "minimal-empty";

/// What the row of the user at [`Profile::Small`] is called.
pub(crate) const SMALL_ROW: &str = "minimal-user, opt-level z";

/// A profile of the workspace that the programs are built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As small as it gets: opt-level z.
    Small,
    /// As fast as it gets: opt-level 3.
    Fast,
}

impl Profile {
    /// As the manifest of the workspace calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Small => "small",
            Profile::Fast => "fast",
        }
    }

    fn level(self) -> &'static str {
        match self {
            Profile::Small => "z",
            Profile::Fast => "3",
        }
    }
}

/// The programs at one profile.
#[derive(Clone, Debug)]
pub(crate) struct Minimal {
    directory: PathBuf,
}

impl Minimal {
    /// Builds them.
    pub(crate) fn build(workspace: &Workspace, profile: Profile, progress: Progress) -> Result<Minimal> {
        Self::build_with(workspace, profile, "", progress)
    }

    /// Builds them with a driver that has these features, separated by commas.
    pub(crate) fn build_with(
        workspace: &Workspace,
        profile: Profile,
        features: &str,
        progress: Progress,
    ) -> Result<Minimal> {
        let with = if features.is_empty() {
            String::new()
        } else {
            format!(" with {features}")
        };
        let heading = format!("building the smallest programs, profile {}{with}", profile.name());
        let features: Vec<String> = features.split(',').map(|name| format!("virtio-blk/{name}")).collect();
        let features = format!(
            "--features={}",
            if with.is_empty() {
                String::new()
            } else {
                features.join(",")
            }
        );
        let options = ["--profile", profile.name(), "--target", RISCV, &features];
        build::programs(workspace, &heading, &[CRATE], &options, progress)?;
        let directory = workspace.target.join(RISCV).join(profile.name());
        Ok(Minimal { directory })
    }

    /// Where the program of that name is.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The size of the program of that name, without what an empty program has.
    pub(crate) fn size(&self, name: &str) -> Result<Size> {
        Ok(Size::of(&self.program(name))?.beyond(Size::of(&self.program(EMPTY))?))
    }
}

/// The sizes at both profiles.
pub(crate) fn rows(workspace: &Workspace, progress: Progress) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for profile in [Profile::Small, Profile::Fast] {
        let programs = Minimal::build(workspace, profile, progress)?;
        for name in [USER, RIVAL] {
            rows.push(programs.size(name)?.row(&row_name(name, profile)));
        }
    }
    Ok(rows)
}

/// What the row of a program is called.
fn row_name(program: &str, profile: Profile) -> String {
    format!("{program}, opt-level {}", profile.level())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_finds_its_row() {
        assert_eq!(row_name(USER, Profile::Small), SMALL_ROW);
    }
}
