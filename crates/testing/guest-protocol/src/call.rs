//! The kinds of calls to a kernel of MINIX.

use serde::{Deserialize, Serialize};

/// What a process asks the kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// A message: RECEIVE.
    Receive,
    /// To send a message: SEND, SENDNB, SENDREC.
    Send,
    /// To send messages from its table: SENDA.
    SendTable,
    /// Physical addresses for a grant: VUMAP.
    Map,
    /// To copy from or to a grant: SAFECOPYFROM, SAFECOPYTO.
    Copy,
    /// The interrupt line: IRQCTL.
    Interrupts,
    /// The alarm: SETALARM.
    Alarm,
    /// Anything else.
    Other,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Receive,
        Self::Send,
        Self::SendTable,
        Self::Map,
        Self::Copy,
        Self::Interrupts,
        Self::Alarm,
        Self::Other,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Send => "send",
            Self::SendTable => "send-table",
            Self::Map => "map",
            Self::Copy => "copy",
            Self::Interrupts => "interrupts",
            Self::Alarm => "alarm",
            Self::Other => "other",
        }
    }
}
