//! A clock that never goes back, over a counter that may.

/// The time, and by how much it is ahead of the counter, modulo 2^64. The counter shows `counter` now. At the last reading it
/// showed `last`, and the time was `ahead` of it.
///
/// A step of the counter by more than half of all numbers is a step back. QEMU takes one when a snapshot is loaded, even to before
/// the counter's start, where it reads as a very large number.
pub(crate) const fn steady(counter: u64, last: u64, ahead: u64) -> (u64, u64) {
    let step = counter.wrapping_sub(last);
    let ahead = if step.cast_signed() < 0 {
        ahead.wrapping_sub(step)
    } else {
        ahead
    };
    (counter.wrapping_add(ahead), ahead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_steps_back_does_not_set_the_clock_back() {
        let (mut last, mut ahead) = (0, 0);
        let mut at = |counter| {
            let now;
            (now, ahead) = steady(counter, last, ahead);
            last = counter;
            now
        };
        assert_eq!((at(50), at(70)), (50, 70));
        assert_eq!((at(30), at(35)), (70, 75));
        // To before its start, and from there over zero.
        assert_eq!((at(10_u64.wrapping_neg()), at(0), at(5)), (75, 85, 90));
    }
}
