//! Harts and the clock they share.

use dtoolkit::Node;
use dtoolkit::fdt::Fdt;

use crate::NodeError;
use crate::interrupt::Phandle;
use crate::property::{bytes, is_compatible, phandle, string, wide_number};
use crate::reg;
use crate::walk::{Place, Walk, at_path};

const TIMEBASE: &str = "timebase-frequency";

/// A hart the firmware left enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hart {
    /// The hart id, as in `mhartid` and in register a0 at start.
    pub id: u64,
    /// The hart's own interrupt controller, to which the PLIC is wired.
    pub interrupt_controller: Option<Phandle>,
}

/// Iterator over the enabled harts in the order of the blob.
#[derive(Debug)]
pub struct Harts<'a> {
    walk: Walk<'a>,
}

impl<'a> Harts<'a> {
    pub(crate) fn new(fdt: Fdt<'a>) -> Self {
        Self { walk: Walk::new(fdt) }
    }
}

impl Iterator for Harts<'_> {
    type Item = Result<Hart, NodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.walk.find(|place| is_cpu(place) && place.is_enabled())?;
        Some(reg::unit_number(&place).map(|id| Hart {
            id,
            interrupt_controller: local_controller(&place),
        }))
    }
}

/// A CPU is a direct child of `/cpus` with the `device_type` or the name of one. (`/cpus/cpu-map` does neither.)
fn is_cpu(place: &Place<'_>) -> bool {
    let [_root, cpus] = place.ancestors.as_slice() else {
        return false;
    };
    cpus.name() == "cpus"
        && match string(&place.node, "device_type") {
            Ok(Some(kind)) => kind == "cpu",
            _ => place.is_named("cpu"),
        }
}

fn local_controller(cpu: &Place<'_>) -> Option<Phandle> {
    let controller = cpu
        .node
        .children()
        .find(|child| is_compatible(child, &["riscv,cpu-intc"]) || bytes(child, "interrupt-controller").is_some())?;
    phandle(&controller).map(Phandle)
}

/// `timebase-frequency` of `/cpus`, or failing that of the first CPU that has one, in hertz.
pub(crate) fn timebase_hz(fdt: Fdt<'_>) -> Result<u64, NodeError> {
    let cpus = at_path(fdt, "/cpus").ok_or(NodeError::MissingNode("/cpus"))?;
    let own = wide_number(&cpus.node, TIMEBASE)?;
    let found = match own {
        Some(hz) => Some(hz),
        None => cpus
            .node
            .children()
            .find_map(|cpu| wide_number(&cpu, TIMEBASE).transpose())
            .transpose()?,
    };
    match found {
        Some(0) => Err(NodeError::BadValue(TIMEBASE)),
        Some(hz) => Ok(hz),
        None => Err(NodeError::MissingProperty(TIMEBASE)),
    }
}
