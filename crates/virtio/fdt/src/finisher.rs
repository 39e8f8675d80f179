//! The power-off register of emulated machines.

use dtoolkit::fdt::Fdt;

use crate::NodeError;
use crate::property::is_compatible;
use crate::reg::{self, PhysRange};
use crate::walk::Walk;

/// The SiFive test finisher: one 32-bit register that ends the machine with an exit status.
pub(crate) fn find(fdt: Fdt<'_>) -> Result<Option<PhysRange>, NodeError> {
    Walk::new(fdt)
        .find(|place| is_compatible(&place.node, &["sifive,test1", "sifive,test0"]) && place.is_enabled())
        .map(|place| reg::first(&place))
        .transpose()
}
