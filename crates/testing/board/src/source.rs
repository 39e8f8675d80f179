//! What can interrupt a hart: the lines and messages of the machine, by number.

/// How a line tells that its device wants something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// The line goes up.
    RisingEdge,
    /// The line goes down.
    FallingEdge,
    /// The line is up.
    #[default]
    LevelHigh,
    /// The line is down.
    LevelLow,
}

impl Trigger {
    /// The trigger of the second cell of an interrupt specifier, as the APLIC and most others have it.
    const fn from_cell(cell: u32) -> Option<Self> {
        match cell {
            1 => Some(Self::RisingEdge),
            2 => Some(Self::FallingEdge),
            4 => Some(Self::LevelHigh),
            8 => Some(Self::LevelLow),
            _ => None,
        }
    }

    /// Whether the line keeps its level until the device has been served.
    pub const fn is_level(self) -> bool {
        matches!(self, Self::LevelHigh | Self::LevelLow)
    }
}

/// An interrupt source: a line of a PLIC or APLIC, or a message of an IMSIC. Its number is from 1 to 1023.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    number: u16,
    trigger: Trigger,
}

impl Source {
    /// One more than the highest source number.
    pub const LIMIT: usize = 1024;

    /// The source of that number, or `None` if no controller has such a source. As a line it is up while the device wants
    /// something.
    pub const fn new(number: u32) -> Option<Self> {
        match number {
            // The range fits into the narrower type.
            1..1024 => Some(Self {
                number: number as u16,
                trigger: Trigger::LevelHigh,
            }),
            _ => None,
        }
    }

    /// The source that an interrupt of the device tree names, with its trigger if there is one. `None` for a number or a trigger
    /// that no controller has.
    pub fn of(interrupt: &virtio_fdt::Interrupt) -> Option<Self> {
        let source = Self::new(interrupt.number())?;
        match *interrupt.specifier() {
            [_] => Some(source),
            [_, cell] => Some(Self {
                trigger: Trigger::from_cell(cell)?,
                ..source
            }),
            _ => None,
        }
    }

    /// The number of the source, from 1 to 1023.
    pub const fn number(self) -> u32 {
        self.number as u32
    }

    /// How its line tells that the device wants something. A message has none, and this does not matter there.
    pub const fn trigger(self) -> Trigger {
        self.trigger
    }
}
