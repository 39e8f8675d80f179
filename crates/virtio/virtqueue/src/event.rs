//! The event-index rule, for both directions.

/// Whether a step of an index from `old` to `new` passes the other side's `event` (`RING-N-13`).
///
/// The other side asks to hear of it when the slot `event` is filled, that is when the index becomes `event + 1`. All
/// three run freely modulo 2^16, and so does the comparison: the distance from `event + 1` back from `new` must be
/// smaller than the step.
#[inline]
pub const fn crosses_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::crosses_event;

    /// The rule told as a story: walk the index step by step and see whether it fills the slot asked for.
    fn walks_over(event: u16, new: u16, old: u16) -> bool {
        let mut index = old;
        while index != new {
            if index == event {
                return true;
            }
            index = index.wrapping_add(1);
        }
        false
    }

    #[test]
    #[cfg_attr(miri, ignore = "arithmetic only, and a lot of it")]
    fn every_event_value_is_right_for_steps_across_the_wrap() {
        for old in [0u16, 1, 0x7FFF, 0x8000, 0xFFF0, 0xFFFE, 0xFFFF] {
            for step in [0u16, 1, 2, 3, 16, 300] {
                let new = old.wrapping_add(step);
                for event in 0..=u16::MAX {
                    assert_eq!(
                        crosses_event(event, new, old),
                        walks_over(event, new, old),
                        "event {event:#x} old {old:#x} new {new:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_wrap_itself() {
        assert!(crosses_event(0xFFFF, 0, 0xFFFF));
        assert!(crosses_event(0, 1, 0xFFFF));
        assert!(!crosses_event(1, 1, 0xFFFF));
        assert!(!crosses_event(0xFFFE, 0, 0xFFFF));
    }
}
