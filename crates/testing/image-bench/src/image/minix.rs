//! The path of a request through the MINIX service, without the kernel and without IPC.

use alloc::boxed::Box;

use bare_image::windows::Transport;
use guest_protocol::Case;
use minix_path::{Batch, Operation as PathOperation, Path};

use super::contender::{Contender, Events};
use super::workload::{Operation, Workload};

/// The adapter on the service's disk.
pub(crate) struct Minix(Box<Path>);

impl Minix {
    /// Starts the device, and opens the disk.
    pub(crate) fn start(transport: Transport) -> Self {
        Self(Path::start(transport))
    }
}

impl Contender for Minix {
    const STAGES: [Option<&'static str>; 3] = [Some("decode"), Some("submit"), Some("complete")];

    fn prepare(&mut self, workload: &Workload) {
        let operation = match workload.operation {
            Operation::Read if workload.segments > 1 => PathOperation::Gather,
            Operation::Read | Operation::Mixed => PathOperation::Read,
            Operation::Write => PathOperation::Write,
        };
        self.0.prepare(&Batch {
            operation,
            depth: workload.depth,
            pages: workload.segments,
        });
    }

    fn case(&self, workload: &Workload) -> Case<'static> {
        let case = workload.case("minix", "polled", "", "");
        match workload.segments {
            1 => case,
            _ => Case {
                operation: "gather",
                ..case
            },
        }
    }

    fn submit(&mut self) {
        self.0.decode();
    }

    fn publish(&mut self) {
        self.0.submit();
    }

    fn is_completed(&self) -> bool {
        self.0.is_completed()
    }

    fn complete(&mut self) -> usize {
        self.0.complete()
    }

    fn events(&self) -> Events {
        Events {
            notifies: self.0.notifies(),
            ..Events::default()
        }
    }

    /// The kernel is not measured.
    fn waited(&mut self) -> u64 {
        self.0.take_kernel_instructions()
    }
}

/// Polls that find nothing.
pub(crate) struct IdlePolls(pub(crate) Minix);

impl Contender for IdlePolls {
    const STAGES: [Option<&'static str>; 3] = [None, None, Some("")];

    fn prepare(&mut self, _: &Workload) {}

    fn case(&self, workload: &Workload) -> Case<'static> {
        Case {
            operation: "idle-poll",
            bytes: 0,
            ..workload.case("minix", "polled", "", "")
        }
    }

    fn submit(&mut self) {}

    fn publish(&mut self) {}

    fn is_completed(&self) -> bool {
        true
    }

    fn complete(&mut self) -> usize {
        self.0.0.poll();
        1
    }

    fn events(&self) -> Events {
        Events::default()
    }
}
