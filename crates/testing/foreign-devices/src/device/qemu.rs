//! The block devices of a QEMU whose machine is stopped, over qtest.

use std::fs::File;

use anyhow::{Context, Result};
use tempfile::TempDir;
use virtio_mmio::MmioTransport;
use virtio_pci::PciTransport;
use virtio_qtest::{BarRegisters, Bus, Ecam, Machine, MachineOptions, MmioRegisters};
use virtio_vhost_user::SharedMemory;

use super::{Device, SECTORS};

struct Qemu {
    machine: Machine,
    options: MachineOptions,
    directory: TempDir,
}

impl Qemu {
    fn start(bus: Bus, legacy: bool) -> Result<Self> {
        let directory = TempDir::new()?;
        File::create(directory.path().join("disk.raw"))?.set_len(SECTORS as u64 * 512)?;
        let options = MachineOptions {
            bus,
            legacy,
            // The legacy interface of PCI takes no other number than the device's.
            properties: "queue-size=64".to_owned(),
        };
        let machine = Machine::start(&directory.path().join("disk.raw"), &options)?;
        Ok(Self {
            machine,
            options,
            directory,
        })
    }

    fn start_again(&mut self) -> Result<()> {
        // QEMU locks the image.
        self.machine.kill();
        self.machine = Machine::start(&self.directory.path().join("disk.raw"), &self.options)?;
        Ok(())
    }
}

macro_rules! device {
    ($(#[$doc:meta])* $name:ident, $bus:expr, $take:ident, $transport:ty) => {
        $(#[$doc])*
        pub struct $name(Qemu);

        impl $name {
            /// Starts a QEMU with a disk that has the legacy interface alone, or the modern one alone.
            pub fn start(legacy: bool) -> Result<Self> {
                Ok(Self(Qemu::start($bus, legacy)?))
            }
        }

        impl Device for $name {
            type Transport = $transport;
            type Memory = SharedMemory;

            fn memory(&self) -> SharedMemory {
                self.0.machine.memory()
            }

            fn connect(&mut self) -> Result<$transport> {
                self.0.machine.$take().context("QEMU has no disk")
            }

            fn kill(&mut self) {
                self.0.machine.kill();
            }

            fn start_again(&mut self) -> Result<()> {
                self.0.start_again()
            }

            fn wait(&self, _: &$transport) {
                std::thread::yield_now();
            }
        }
    };
}

device!(
    /// The disk on the MMIO transport.
    QemuMmio, Bus::Mmio, mmio, MmioTransport<MmioRegisters>
);
device!(
    /// The disk on the PCI bus.
    QemuPci, Bus::Pci, pci, PciTransport<Ecam, BarRegisters>
);
