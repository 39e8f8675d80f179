//! Where the interrupts of a disk go: to a hart for each queue by messages, or all to the boot hart by the line, or nowhere.

use alloc::vec::Vec;

use bare_image::disks::Found;
use board_qemu_virt::{Board, Message, Source};
use virtio_core::{InterruptVector, QueueIndex};
use virtio_pci::{MsiMessage, VectorPlan};

use super::session::Failure;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Routes {
    plan: VectorPlan,
    /// The message of each vector.
    messages: Vec<Message>,
    /// The line, where there are no vectors. None: the disk is polled.
    line: Option<Source>,
}

/// What interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Line(Source),
    Vector(InterruptVector, Source),
}

impl Interrupt {
    pub(crate) fn source(self) -> Source {
        match self {
            Self::Line(source) | Self::Vector(_, source) => source,
        }
    }

    /// The same for the driver.
    pub(crate) fn for_driver(self) -> virtio_core::InterruptSource {
        match self {
            Self::Line(_) => virtio_core::InterruptSource::Line,
            Self::Vector(vector, _) => virtio_core::InterruptSource::Vector(vector),
        }
    }
}

impl Routes {
    /// No interrupts.
    pub(crate) fn polled() -> Self {
        Self {
            plan: VectorPlan::without_vectors(),
            messages: Vec::new(),
            line: None,
        }
    }

    /// Routes the interrupts of queue N to the Nth of `harts`, as far as there are vectors, and changes of the configuration to the
    /// first. Only one of these is in use for a disk.
    pub(crate) fn new(board: &Board, disk: &mut Found, harts: &[usize]) -> Result<Self, Failure> {
        let mut routes = Self::polled();
        let Some(table) = &mut disk.table else {
            routes.line = disk.line;
            return Ok(routes);
        };
        let queues = u16::try_from(harts.len())?;
        routes.plan = VectorPlan::new(table.vectors(), queues);
        for vector in (0..routes.plan.vectors()).map(InterruptVector) {
            let user = (0..queues).find(|queue| routes.plan.queue(QueueIndex(*queue)) == Some(vector));
            let message = board.interrupts.allocate_message(harts[usize::from(user.unwrap_or(0))]);
            let message = message.ok_or("the hart of a queue takes no message")?;
            // SAFETY: the board has given the message to this device.
            table.set(vector, unsafe { MsiMessage::new(message.address, message.data) })?;
            routes.messages.push(message);
        }
        Ok(routes)
    }

    /// Which vector the configuration and each queue have.
    pub(crate) fn plan(&self) -> VectorPlan {
        self.plan
    }

    /// What interrupts for a queue.
    pub(crate) fn queue(&self, queue: QueueIndex) -> Option<Interrupt> {
        self.interrupt(self.plan.queue(queue))
    }

    /// What interrupts for changes of the configuration.
    pub(crate) fn config(&self) -> Option<Interrupt> {
        self.interrupt(self.plan.config())
    }

    fn interrupt(&self, vector: Option<InterruptVector>) -> Option<Interrupt> {
        let Some(vector) = vector else {
            return self.line.map(Interrupt::Line);
        };
        let message = self.messages.get(usize::from(vector.0))?;
        Some(Interrupt::Vector(vector, message.source))
    }

    /// Gives the messages back. The device is reset, and the harts have disabled their sources.
    pub(crate) fn release(self, board: &Board, disk: &mut Found) -> Result<(), Failure> {
        for (vector, message) in (0..).map(InterruptVector).zip(self.messages) {
            if let Some(table) = &mut disk.table {
                table.mask(vector)?;
            }
            board.interrupts.free_message(message);
        }
        Ok(())
    }

    /// Gives the messages of a device back that is gone, or will not be used again.
    pub(crate) fn forget(self, board: &Board) {
        self.messages
            .into_iter()
            .for_each(|message| board.interrupts.free_message(message));
    }
}
