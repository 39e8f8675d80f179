//! The whole system: the kernel and the state of its servers.

use heapless::Vec;
use minix_abi::Endpoint;

use super::ds::Ds;
use super::service::Service;
use super::vfs::Vfs;
use crate::kernel::process::{MAX_PROCESSES, Slot};
use crate::kernel::state::Kernel;

#[derive(Debug)]
pub(crate) struct System {
    pub(crate) kernel: Kernel,
    /// The table of RS.
    pub(crate) services: Vec<Service, MAX_PROCESSES>,
    pub(crate) ds: Ds,
    pub(crate) vfs: Vfs,
}

impl System {
    pub(in crate::kernel) fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            services: Vec::new(),
            ds: Ds::default(),
            vfs: Vfs::default(),
        }
    }

    pub(crate) fn labelled(&self, label: &str) -> Option<usize> {
        self.services.iter().position(|service| service.label() == label)
    }

    pub(crate) fn service(&self, label: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.label() == label)
    }

    /// The service that a process is an instance of.
    pub(super) fn service_of(&self, slot: Slot) -> Option<usize> {
        let endpoint = self.kernel.processes[slot].endpoint;
        self.position(endpoint)
    }

    pub(super) fn position(&self, endpoint: Endpoint) -> Option<usize> {
        self.services
            .iter()
            .position(|service| service.endpoint == endpoint && !service.is_gone())
    }
}
