//! Tells a waiting person that something is going on.
//!
//! On a terminal: a spinner on standard error, from the first moment, gone when the work is done. Elsewhere: one line when
//! the work starts, so that logs stay readable. Silent: nothing, for runs inside the test runner.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::console::complain;

/// How to show work in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Spinner,
    Lines,
    Silent,
}

impl Progress {
    /// A spinner if somebody is looking.
    pub(crate) fn for_this_terminal() -> Self {
        if std::io::stderr().is_terminal() {
            Progress::Spinner
        } else {
            Progress::Lines
        }
    }

    /// Does `work` under the given heading.
    pub(crate) fn step<T>(self, heading: &str, work: impl FnOnce(&Step) -> T) -> T {
        let step = Step(match self {
            Progress::Spinner => Some(spinner(heading)),
            Progress::Lines => {
                complain(&format!("{heading} ..."));
                None
            }
            Progress::Silent => None,
        });
        work(&step)
    }
}

/// Work in progress.
pub(crate) struct Step(Option<ProgressBar>);

impl Step {
    /// Says what the work is at just now. Only seen on a terminal.
    pub(crate) fn now(&self, doing: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(doing.to_owned());
        }
    }

    /// Runs a command to its end with the last line it printed beside the spinner, and gives all it printed.
    pub(crate) fn command(&self, command: &mut Command) -> Result<Finished> {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("cannot make a pipe")?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        // The writing ends must be closed here too, or the pipe never ends.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut output = String::new();
        let mut lines = BufReader::new(reader);
        let mut line = Vec::new();
        while lines
            .by_ref()
            .read_until(b'\n', &mut line)
            .with_context(|| format!("cannot read from {program}"))?
            > 0
        {
            let text = String::from_utf8_lossy(&line);
            self.now(text.trim());
            output += &text;
            line.clear();
        }
        let status = child.wait().with_context(|| format!("cannot wait for {program}"))?;
        Ok(Finished { status, output })
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A command that came to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// What it printed, both streams as they came.
    pub(crate) output: String,
}

fn spinner(heading: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(heading.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gives_both_streams_and_its_status() {
        let finished = Progress::Silent
            .step("t", |step| {
                step.command(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]))
            })
            .unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.output, "out\nerr\n");
        let missing = Progress::Silent.step("t", |step| step.command(&mut Command::new("/no/such/program")));
        assert!(missing.is_err());
    }
}
