//! The serial port for human text.

use dtoolkit::fdt::Fdt;

use crate::NodeError;
use crate::interrupt::{self, Interrupt};
use crate::property::{is_compatible, number, string};
use crate::reg::{self, PhysRange};
use crate::walk::{Place, Walk, at_path};

const COMPATIBLE: &[&str] = &["ns16550a", "ns16550"];

/// A 16550-class serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Uart {
    /// Where the registers are.
    pub registers: PhysRange,
    /// Registers lie `1 << register_shift` bytes apart (`reg-shift`, 0 if it is absent).
    pub register_shift: u32,
    /// Width of one register access in bytes (`reg-io-width`, 1 if it is absent).
    pub access_bytes: u32,
    /// Input clock of the baud rate generator in hertz.
    pub clock_hz: Option<u32>,
    /// The interrupt line.
    pub interrupt: Option<Interrupt>,
}

/// The port `/chosen/stdout-path` names if it is a 16550, else the first 16550 in the tree.
pub(crate) fn console(fdt: Fdt<'_>) -> Result<Option<Uart>, NodeError> {
    let place = match stdout(fdt) {
        Some(place) if is_usable(&place) => Some(place),
        other => {
            if other.is_some() {
                warn!("the chosen console is not an enabled 16550, looking for another");
            }
            Walk::new(fdt).find(is_usable)
        }
    };
    place.map(|place| read(fdt, &place)).transpose()
}

fn is_usable(place: &Place<'_>) -> bool {
    is_compatible(&place.node, COMPATIBLE) && place.is_enabled()
}

/// Follows `/chosen/stdout-path`: a path or the name of an alias, with options such as the baud rate after a colon.
fn stdout(fdt: Fdt<'_>) -> Option<Place<'_>> {
    let chosen = at_path(fdt, "/chosen")?;
    let value = string(&chosen.node, "stdout-path").ok()??;
    let target = value.split(':').next()?;
    if target.starts_with('/') {
        return at_path(fdt, target);
    }
    at_path(fdt, alias(fdt, target)?)
}

fn alias<'a>(fdt: Fdt<'a>, name: &str) -> Option<&'a str> {
    use dtoolkit::{Node, Property};
    let aliases = at_path(fdt, "/aliases")?;
    aliases.node.property(name)?.value_as::<&'a str>().ok()
}

fn read(fdt: Fdt<'_>, place: &Place<'_>) -> Result<Uart, NodeError> {
    let register_shift = number(&place.node, "reg-shift")?.unwrap_or(0);
    if register_shift > 3 {
        return Err(NodeError::BadValue("reg-shift"));
    }
    let access_bytes = number(&place.node, "reg-io-width")?.unwrap_or(1);
    if !matches!(access_bytes, 1 | 2 | 4) {
        return Err(NodeError::BadValue("reg-io-width"));
    }
    Ok(Uart {
        registers: reg::first(place)?,
        register_shift,
        access_bytes,
        clock_hz: number(&place.node, "clock-frequency")?,
        interrupt: interrupt::first(fdt, place)?,
    })
}
