//! Kernel calls that the kernel is not ready for are repeated, after longer and longer waits.

use minix_abi::{Errno, Message};

/// How often a call is made before the caller hears of it: 45 ticks are waited in all.
const ATTEMPTS: u32 = 10;

/// Makes a kernel call until the kernel is ready for it, with `wait` for a growing number of ticks in between.
///
/// The granter of a grant that is just being replaced by a new version of itself is the known case.
#[cfg_attr(
    not(any(target_arch = "riscv64", test)),
    expect(dead_code, reason = "only the machine traps")
)]
pub(crate) fn until_ready(
    message: &mut Message,
    mut call: impl FnMut(&mut Message),
    mut wait: impl FnMut(u32),
) -> Result<u32, Errno> {
    // The kernel puts its status in place of the number of the call, so every attempt starts from the original.
    let original = *message;
    for attempt in 1..=ATTEMPTS {
        if attempt > 1 {
            *message = original;
        }
        call(message);
        let result = message.status().result();
        if result != Err(Errno::ENOTREADY) || attempt == ATTEMPTS {
            return result;
        }
        wait(attempt);
    }
    Err(Errno::ENOTREADY)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use minix_abi::{Endpoint, MessageType};

    use super::*;

    /// The kernel gives these answers in turn, then the last one for ever. What came of it, and the waits in ticks.
    fn outcome(answers: &[i32]) -> (Result<u32, Errno>, Vec<u32>) {
        let original = Message {
            body: [7; 96],
            ..Message::new(MessageType::SYS_SAFECOPYFROM)
        };
        let mut message = original;
        let (mut waits, mut made) = (Vec::new(), 0);
        let result = until_ready(
            &mut message,
            |message| {
                assert_eq!(*message, original, "every attempt is the same call");
                *message = Message {
                    source: Endpoint::SYSTEM,
                    ..Message::new(MessageType(answers[made.min(answers.len() - 1)]))
                };
                made += 1;
            },
            |ticks| waits.push(ticks),
        );
        assert_eq!(message.source, Endpoint::SYSTEM, "the reply stays");
        (result, waits)
    }

    #[test]
    fn a_call_is_repeated_until_the_kernel_is_ready() {
        let not_ready = Errno::ENOTREADY.to_wire();
        assert_eq!(outcome(&[5]), (Ok(5), Vec::new()));
        assert_eq!(
            outcome(&[not_ready, not_ready, not_ready, 0]),
            (Ok(0), Vec::from([1, 2, 3]))
        );
        assert_eq!(outcome(&[not_ready, -1]), (Err(Errno::EPERM), Vec::from([1])));
    }

    #[test]
    fn it_is_not_repeated_for_ever() {
        let (result, waits) = outcome(&[Errno::ENOTREADY.to_wire()]);
        assert_eq!(result, Err(Errno::ENOTREADY));
        assert_eq!(waits.iter().sum::<u32>(), 45);
    }
}
