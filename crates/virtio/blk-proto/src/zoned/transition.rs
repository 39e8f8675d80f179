//! The transitions between the states of a zone.

use crate::zoned::ZoneState;

/// An event that can change the state of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ZoneEvent {
    /// A write or an append of at least one sector succeeded.
    Written {
        /// The write pointer reached the end of the capacity.
        fills: bool,
    },
    /// An open command.
    Open,
    /// A close command.
    Close {
        /// Nothing has been written: the write pointer is at the start of the zone.
        untouched: bool,
    },
    /// A finish command.
    Finish,
    /// A reset command for this zone.
    Reset,
    /// A reset command for all zones. Zones it does not apply to stay as they are.
    ResetAll,
    /// The device closed the zone to open another one.
    ClosedByDevice,
    /// The device stopped accepting writes.
    TurnedReadOnly,
    /// The zone broke.
    TurnedOffline,
}

impl ZoneState {
    /// The state after `event`, or `None` if the specification has no such transition.
    ///
    /// A device answers a command that has none with [`ZONE_INVALID_CMD`](crate::Status::ZONE_INVALID_CMD); limits on open
    /// and active zones come on top. Source: VirtIO 1.4, "Block Device / Device Operation", zone states.
    #[must_use]
    pub const fn after(self, event: ZoneEvent) -> Option<Self> {
        use ZoneEvent as E;
        Some(match (self, event) {
            (Self::Unknown(_), _) => return None,

            // The device's own doing.
            (_, E::TurnedOffline) => Self::Offline,
            (Self::Offline, E::TurnedReadOnly) => return None,
            (_, E::TurnedReadOnly) => Self::ReadOnly,
            (Self::ImplicitlyOpen, E::ClosedByDevice) => Self::Closed,
            (_, E::ClosedByDevice) => return None,

            // Zones that commands do not change.
            (Self::NoWritePointer, E::Written { .. } | E::ResetAll) => self,
            (Self::ReadOnly | Self::Offline, E::ResetAll) => self,
            (Self::NoWritePointer | Self::ReadOnly | Self::Offline, _) => return None,

            (_, E::Reset | E::ResetAll) => Self::Empty,

            (Self::Full, E::Finish) => self,
            (Self::Full, _) => return None,

            (_, E::Written { fills: true }) => Self::Full,
            (Self::ExplicitlyOpen, E::Written { fills: false }) => self,
            (_, E::Written { fills: false }) => Self::ImplicitlyOpen,

            (_, E::Open) => Self::ExplicitlyOpen,

            (Self::ExplicitlyOpen, E::Close { untouched: true }) => Self::Empty,
            (Self::ImplicitlyOpen | Self::ExplicitlyOpen | Self::Closed, E::Close { .. }) => Self::Closed,
            (Self::Empty, E::Close { .. }) => return None,

            (Self::ImplicitlyOpen | Self::ExplicitlyOpen, E::Finish) => Self::Full,
            (Self::Empty | Self::Closed, E::Finish) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use ZoneState::{
        Closed, Empty, ExplicitlyOpen as Explicit, Full, ImplicitlyOpen as Implicit, NoWritePointer as NoPointer,
        Offline, ReadOnly,
    };

    use super::*;

    const SOME: ZoneEvent = ZoneEvent::Written { fills: false };
    const REST: ZoneEvent = ZoneEvent::Written { fills: true };
    const CLOSE: ZoneEvent = ZoneEvent::Close { untouched: false };
    const CLOSE_UNTOUCHED: ZoneEvent = ZoneEvent::Close { untouched: true };

    #[test]
    fn the_table_is_the_one_of_the_specification() {
        use ZoneEvent::{ClosedByDevice as Pressure, Finish, Open, Reset, ResetAll, TurnedOffline, TurnedReadOnly};
        let events = [
            SOME,
            REST,
            Open,
            CLOSE,
            CLOSE_UNTOUCHED,
            Finish,
            Reset,
            ResetAll,
            Pressure,
            TurnedReadOnly,
            TurnedOffline,
        ];
        #[rustfmt::skip]
        let table = [
            // from        some            rest            open            close         untouched     finish      reset        all              pressure      read-only       offline
            (NoPointer, [Some(NoPointer), Some(NoPointer), None,           None,         None,         None,       None,        Some(NoPointer), None,         Some(ReadOnly), Some(Offline)]),
            (Empty,     [Some(Implicit),  Some(Full),      Some(Explicit), None,         None,         None,       Some(Empty), Some(Empty),     None,         Some(ReadOnly), Some(Offline)]),
            (Implicit,  [Some(Implicit),  Some(Full),      Some(Explicit), Some(Closed), Some(Closed), Some(Full), Some(Empty), Some(Empty),     Some(Closed), Some(ReadOnly), Some(Offline)]),
            (Explicit,  [Some(Explicit),  Some(Full),      Some(Explicit), Some(Closed), Some(Empty),  Some(Full), Some(Empty), Some(Empty),     None,         Some(ReadOnly), Some(Offline)]),
            (Closed,    [Some(Implicit),  Some(Full),      Some(Explicit), Some(Closed), Some(Closed), None,       Some(Empty), Some(Empty),     None,         Some(ReadOnly), Some(Offline)]),
            (ReadOnly,  [None,            None,            None,           None,         None,         None,       None,        Some(ReadOnly),  None,         Some(ReadOnly), Some(Offline)]),
            (Full,      [None,            None,            None,           None,         None,         Some(Full), Some(Empty), Some(Empty),     None,         Some(ReadOnly), Some(Offline)]),
            (Offline,   [None,            None,            None,           None,         None,         None,       None,        Some(Offline),   None,         None,           Some(Offline)]),
            (ZoneState::Unknown(9), [None; 11]),
        ];
        for (from, row) in table {
            for (event, to) in events.into_iter().zip(row) {
                assert_eq!(from.after(event), to, "{from:?} after {event:?}");
            }
        }
    }
}
