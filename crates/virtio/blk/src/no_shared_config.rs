//! In place of the shared configuration in a driver without the feature `queues`: a device and its queue stay together, and share
//! nothing. No value of these types exists, so what would be done with one is left out.

use virtio_blk_proto::{BlkFeatures, ConfigSnapshot};
use virtio_core::Dma;

use crate::Limits;

/// There is none.
#[derive(Debug)]
pub(crate) enum SharedConfig {}

impl SharedConfig {
    pub(crate) fn publish(&mut self, _: &ConfigSnapshot) {
        match *self {}
    }

    pub(crate) fn device_gone(&self) {
        match *self {}
    }

    /// # Safety
    ///
    /// Without a value there is nothing to keep to.
    pub(crate) unsafe fn view(&self, _: BlkFeatures, _: BlkFeatures, _: u16) -> ConfigView {
        match *self {}
    }

    pub(crate) fn release(self, _: &mut (impl Dma + ?Sized)) {
        match self {}
    }
}

/// There is none.
#[derive(Debug)]
pub(crate) enum ConfigView {}

impl ConfigView {
    pub(crate) fn take_news(&mut self) -> Option<News> {
        match *self {}
    }

    pub(crate) fn limits(&self, _: &ConfigSnapshot, _: &Limits) -> Limits {
        match *self {}
    }
}

/// There are none.
#[derive(Debug)]
pub(crate) enum News {
    #[expect(dead_code, reason = "no view has news")]
    Config(ConfigSnapshot),
    #[expect(dead_code, reason = "no view has news")]
    Gone,
}
