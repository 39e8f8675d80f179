//! Runs the scenario: one statement after the other, with a look at the present one whenever something may have changed.

use core::str::Lines;

use board_qemu_virt::power;
use guest_protocol::Record;
use minix_abi::Endpoint;

use super::report::{emit, error};
use super::senda;
use super::servers::serve::serve;
use super::servers::system::System;
use super::servers::{instance, rs};
use super::state::Kernel;
use super::statements::Running;

#[derive(Debug)]
pub(super) struct Scenario {
    lines: Lines<'static>,
    /// The present line, for the message about its failure.
    line: &'static str,
    running: Running,
    passed: u64,
    /// Frames that were in use before there was any process.
    used_frames: usize,
}

impl Scenario {
    pub(super) fn new(kernel: &mut Kernel) -> Self {
        let text = kernel.archive.text("scenario").unwrap_or_else(|| {
            error(
                "start",
                "no-scenario",
                format_args!("the archive has no file of that name"),
            );
            kernel.failures.0 += 1;
            ""
        });
        Self {
            lines: text.lines(),
            line: "",
            running: Running::default(),
            passed: 0,
            used_frames: kernel.frames.used_count(),
        }
    }

    /// Goes on as far as it can. The end of the scenario switches the machine off.
    pub(super) fn step(&mut self, system: &mut System) {
        let now = system.kernel.clock.now_micros();
        if !system.kernel.clock.takes_look(now) {
            return;
        }
        // While something is under way the time is looked at every now and then.
        system.kernel.clock.look_at(now.saturating_add(1000));
        rs::look(system, now);
        if system.kernel.ports.vfs_is_ready(now) {
            senda::fetch(&mut system.kernel, Endpoint::VFS);
            serve(system);
        }
        while let Some(has_passed) = self.running.outcome(system, now) {
            if !self.line.is_empty() {
                self.conclude(system, has_passed);
            }
            self.line = self.lines.next().unwrap_or_else(|| self.finish(system));
            if let Err(reason) = self.running.begin(system, self.line, now) {
                error("scenario", "cannot-start", format_args!("{reason}"));
                self.running.fail();
            }
            system.kernel.clock.look_now();
        }
    }

    fn conclude(&mut self, system: &mut System, has_passed: bool) {
        if has_passed {
            self.passed += 1;
        } else {
            system.kernel.failures.0 += 1;
            error("scenario", "failed", format_args!("{}", self.line));
        }
    }

    fn finish(&self, system: &mut System) -> ! {
        for index in 0..system.services.len() {
            instance::release_dead_memory(system, index);
        }
        let kernel = &mut system.kernel;
        for slot in kernel.processes.iter() {
            kernel.kill(slot);
        }
        // Every frame must have come back.
        let (before, now) = (self.used_frames, kernel.frames.used_count());
        if now != before {
            kernel
                .failures
                .violation(format_args!("{now} frames are in use without processes, {before} were"));
        }
        let failed = kernel.failures.0;
        let passed = self.passed;
        emit(&Record::Done { passed, failed });
        power::off(u8::from(failed > 0))
    }
}
