//! The vectors that the device was told for its interrupts.

use virtio_core::{InterruptCauses, InterruptVector};

/// The meaning of each vector.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Routing {
    /// MSI-X is on: interrupts come by vectors, and the interrupt status is not used.
    pub(crate) vectors: bool,
    config: Option<InterruptVector>,
    /// Some queue has a vector.
    queues: bool,
    /// Some queue may have the vector of the configuration.
    shared: bool,
}

impl Routing {
    pub(crate) const fn new() -> Self {
        Self {
            vectors: false,
            config: None,
            queues: false,
            shared: false,
        }
    }

    /// A reset has cleared the vectors of the device.
    pub(crate) fn forget(&mut self) {
        *self = Self {
            vectors: self.vectors,
            ..Self::new()
        };
    }

    /// A queue was enabled with this vector.
    pub(crate) fn add_queue(&mut self, vector: Option<InterruptVector>) {
        self.queues |= vector.is_some();
        self.shared |= vector.is_some() && vector == self.config;
    }

    /// Configuration changes have this vector. The vector of each queue is not kept, so a queue from before may have it, too.
    pub(crate) fn set_config(&mut self, vector: Option<InterruptVector>) {
        self.config = vector;
        self.shared = self.queues;
    }

    /// What an interrupt by `vector` can mean.
    pub(crate) fn causes(&self, vector: InterruptVector) -> InterruptCauses {
        if !self.vectors {
            return InterruptCauses::empty();
        }
        let mut causes = InterruptCauses::empty();
        let config = self.config == Some(vector);
        causes.set(InterruptCauses::CONFIG_CHANGE, config);
        causes.set(
            InterruptCauses::USED_BUFFER,
            if config { self.shared } else { self.queues },
        );
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: InterruptCauses = InterruptCauses::USED_BUFFER;
    const CONFIG: InterruptCauses = InterruptCauses::CONFIG_CHANGE;

    fn causes(config: u16, queue: u16) -> [InterruptCauses; 2] {
        let mut routing = Routing::new();
        routing.vectors = true;
        routing.set_config(Some(InterruptVector(config)));
        routing.add_queue(Some(InterruptVector(queue)));
        [config, queue].map(|vector| routing.causes(InterruptVector(vector)))
    }

    #[test]
    fn a_vector_means_what_was_routed_to_it() {
        assert_eq!(causes(0, 1), [CONFIG, USED]);
        assert_eq!(causes(0, 0), [CONFIG | USED; 2]);
    }

    #[test]
    fn a_late_vector_for_the_configuration_may_be_shared() {
        let mut routing = Routing::new();
        routing.vectors = true;
        routing.add_queue(Some(InterruptVector(3)));
        routing.set_config(Some(InterruptVector(3)));
        assert_eq!(routing.causes(InterruptVector(3)), CONFIG | USED);
        routing.forget();
        assert_eq!(routing.causes(InterruptVector(3)), InterruptCauses::empty());
        routing.set_config(Some(InterruptVector(3)));
        assert_eq!(routing.causes(InterruptVector(3)), CONFIG);
    }

    #[test]
    fn without_vectors_a_vector_means_nothing() {
        assert_eq!(Routing::new().causes(InterruptVector(0)), InterruptCauses::empty());
    }
}
