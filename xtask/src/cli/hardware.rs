//! The options of `cargo xtask qemu --bare` that choose the machine: buses, queues, vectors, interrupt controllers, harts.

use clap::{Args, ValueEnum};

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bus {
    /// In a window of the machine.
    Mmio,
    /// As a PCI function with one interface.
    Pci,
    /// As a PCI function with both interfaces, modern and legacy, as QEMU has it by default.
    PciTransitional,
}

impl Bus {
    /// The same as the guest calls it.
    pub(crate) const fn of_guest(self) -> guest_protocol::Bus {
        match self {
            Bus::Mmio => guest_protocol::Bus::Mmio,
            Bus::Pci => guest_protocol::Bus::Pci,
            Bus::PciTransitional => guest_protocol::Bus::PciTransitional,
        }
    }
}

/// The interrupt controllers of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Aia {
    /// A PLIC.
    None,
    /// An APLIC that interrupts the harts directly.
    Aplic,
    /// An APLIC that sends messages, and an IMSIC for each hart that takes them: with it PCI disks use MSI-X.
    AplicImsic,
}

impl Aia {
    /// The name QEMU knows it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Aia::None => "none",
            Aia::Aplic => "aplic",
            Aia::AplicImsic => "aplic-imsic",
        }
    }
}

/// How the disk goes away in the middle of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Removal {
    /// The guest is asked to let it go, and gets it back.
    Hot,
    /// It is gone at once.
    Surprise,
    /// Its back-end is killed, and the requests in flight are lost.
    Killed,
}

impl Removal {
    /// The same as the guest calls it.
    pub(crate) const fn of_guest(self) -> image_blk::options::Removal {
        match self {
            Removal::Hot => image_blk::options::Removal::Hot,
            Removal::Surprise => image_blk::options::Removal::Surprise,
            Removal::Killed => image_blk::options::Removal::Killed,
        }
    }
}

/// Most disks of a machine, and most queues of a disk and harts of a machine.
const MOST: u16 = 8;

/// See the [module](self). All need `--bare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Hardware {
    /// Attach the disk to this bus, with --bare. Several make a disk each, as `--bus mmio,pci` or `--bus mmio --bus pci`.
    #[arg(
        long = "bus",
        requires = "bare",
        value_enum,
        value_name = "BUS",
        value_delimiter = ',',
        default_value = "mmio"
    )]
    pub(crate) buses: Vec<Bus>,

    /// Queues of each disk, each for a hart of its own, with --bare.
    #[arg(long, requires = "bare", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST)))]
    pub(crate) queues: u16,

    /// MSI-X vectors of each PCI disk, with --bare; without any it interrupts by its line (INTx) [default: one for each queue and one
    /// for changes of the configuration].
    #[arg(long, requires = "bare", value_name = "N", value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(crate) vectors: Option<u16>,

    /// Interrupt controllers of the machine, with --bare.
    #[arg(long, requires = "bare", value_enum, value_name = "KIND", default_value = "none")]
    pub(crate) aia: Aia,

    /// Number of harts, with --bare [default: one for each queue, and one more with --remove].
    #[arg(long, requires = "bare", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST)))]
    smp: Option<u16>,
}

impl Hardware {
    /// Number of harts. One more than queues where the boot hart has no queue.
    pub(crate) fn harts(&self, boot_hart_watches: bool) -> u16 {
        self.smp.unwrap_or(self.queues + u16::from(boot_hart_watches))
    }

    /// Whether there is a disk on the PCI bus.
    pub(crate) fn has_pci(&self) -> bool {
        self.buses.iter().any(|bus| *bus != Bus::Mmio)
    }

    /// Why these options make no sense together, in one line that names them, where clap does not say it.
    pub(super) fn contradiction(&self, legacy: bool, boot_hart_watches: bool) -> Option<String> {
        if self.buses.len() > usize::from(MOST) {
            return Some(format!("--bus: {MOST} disks at most"));
        }
        let (queues, harts) = (self.queues, self.harts(boot_hart_watches));
        if queues > harts {
            return Some(format!(
                "--queues {queues}: each needs a hart, and --smp {harts} makes fewer"
            ));
        }
        if boot_hart_watches && queues == harts {
            return Some(format!(
                "--remove: one hart watches the disk, and --smp {harts} leaves none for a queue"
            ));
        }
        if legacy && self.buses.contains(&Bus::PciTransitional) {
            return Some(
                "--legacy: a disk on pci-transitional has both interfaces, one on pci has the legacy one alone"
                    .to_owned(),
            );
        }
        if self.vectors.is_some() && !self.has_pci() {
            return Some("--vectors: only disks on the PCI bus have vectors, as --bus pci".to_owned());
        }
        if self.vectors.is_some_and(|vectors| vectors > 0) && self.aia != Aia::AplicImsic {
            return Some("--vectors: only IMSICs take the messages of MSI-X: add --aia aplic-imsic".to_owned());
        }
        None
    }
}
