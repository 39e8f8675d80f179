//! Arithmetic of message passing: which processes a bit stands for, who waits in a circle, what an entry of an
//! asynchronous table asks for.

use minix_abi::Endpoint;
use minix_abi::ipc::{AsyncFlags, AsyncMessage};

/// The bit for a kernel task or a process of the boot image: slot -5 is bit 0. `None` for all others.
pub const fn system_bit(endpoint: Endpoint) -> Option<u32> {
    let bit = endpoint.slot() + Endpoint::TASKS;
    if endpoint.generation() == 0 && bit >= 0 && bit < 17 {
        Some(1 << bit)
    } else {
        None
    }
}

/// The endpoint that the lowest of some bits stands for.
pub const fn system_endpoint(bits: u32) -> Option<Endpoint> {
    if bits == 0 {
        None
    } else {
        Some(Endpoint(bits.trailing_zeros() as i32 - Endpoint::TASKS))
    }
}

/// The names that configurations have for processes of the boot image and the kernel.
pub const SYSTEM_NAMES: [(&str, Endpoint); 11] = [
    ("SYSTEM", Endpoint::SYSTEM),
    ("pm", Endpoint::PM),
    ("vfs", Endpoint::VFS),
    ("rs", Endpoint::RS),
    ("memory", Endpoint::MEM),
    ("sched", Endpoint::SCHED),
    ("tty", Endpoint::TTY),
    ("ds", Endpoint::DS),
    ("mib", Endpoint::MIB),
    ("vm", Endpoint::VM),
    ("pfs", Endpoint::PFS),
];

/// What a process waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Nothing, or anybody.
    No,
    /// That this one takes its message.
    ToSend(Endpoint),
    /// For a message from this one.
    ToReceive(Endpoint),
}

/// Whether `caller` would wait for ever if it waited like that: a circle of waiters. Two that wait for each other, one to
/// send and one to receive, are no circle but a conversation.
pub fn is_deadlock(caller: Endpoint, wait: Waits, waits: impl Fn(Endpoint) -> Waits) -> bool {
    let (mut at, sends) = match wait {
        Waits::ToSend(to) => (to, true),
        Waits::ToReceive(from) => (from, false),
        Waits::No => return false,
    };
    // No chain is longer than there are processes.
    for length in 1..=Endpoint::PROCESSES {
        let (next, next_sends) = match waits(at) {
            Waits::ToSend(to) => (to, true),
            Waits::ToReceive(from) => (from, false),
            Waits::No => return false,
        };
        if next == caller {
            return length != 1 || sends == next_sends;
        }
        at = next;
    }
    false
}

/// What to do with an entry of an asynchronous table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Skip,
    /// Nothing, and complain on the console.
    Malformed,
    /// Deliver it.
    Send,
}

/// What to do with an entry, by its flags.
pub fn entry(flags: AsyncFlags) -> Entry {
    let known =
        AsyncFlags::VALID | AsyncFlags::DONE | AsyncFlags::NOTIFY | AsyncFlags::NOREPLY | AsyncFlags::NOTIFY_ERR;
    if flags.bits() == 0 {
        Entry::Skip
    } else if flags.bits() & !known.bits() != 0 || !flags.contains(AsyncFlags::VALID) {
        Entry::Malformed
    } else if flags.contains(AsyncFlags::DONE) {
        Entry::Skip
    } else {
        Entry::Send
    }
}

/// Whether the sender wants to be told that an entry is done.
pub fn wants_notice(entry: &AsyncMessage) -> bool {
    let failed = entry.result.result().is_err();
    entry.flags.contains(AsyncFlags::NOTIFY) || failed && entry.flags.contains(AsyncFlags::NOTIFY_ERR)
}

#[cfg(test)]
mod tests {
    use minix_abi::{Errno, Message};

    use super::*;

    #[test]
    fn bits_stand_for_the_boot_image() {
        assert_eq!(system_bit(Endpoint::ASYNCM), Some(1));
        assert_eq!(system_bit(Endpoint::RS), Some(1 << 7));
        assert_eq!(system_bit(Endpoint::INIT), Some(1 << 16));
        assert_eq!(system_bit(Endpoint(12)), None);
        assert_eq!(system_bit(Endpoint::new(1, 2).unwrap()), None, "a slot's second user");
        assert_eq!(system_bit(Endpoint::ANY), None);
        for endpoint in [Endpoint::ASYNCM, Endpoint::HARDWARE, Endpoint::VM] {
            assert_eq!(system_bit(endpoint).and_then(system_endpoint), Some(endpoint));
        }
        assert_eq!(system_endpoint(0b1100), Some(Endpoint::CLOCK), "the lowest one");
        assert_eq!(system_endpoint(0), None);
        assert!(SYSTEM_NAMES.iter().all(|(_, endpoint)| system_bit(*endpoint).is_some()));
    }

    #[test]
    fn a_circle_of_waiters_is_a_deadlock() {
        use Waits::{No, ToReceive, ToSend};
        let [a, b, c] = [Endpoint(12), Endpoint(13), Endpoint(14)];
        let waits = |list: [(Endpoint, Waits); 2]| {
            move |who| {
                list.iter()
                    .find(|(process, _)| *process == who)
                    .map_or(No, |(_, wait)| *wait)
            }
        };
        let free = waits([(b, No), (c, No)]);
        assert!(!is_deadlock(a, ToSend(b), free));
        let b_sends_a = waits([(b, ToSend(a)), (c, No)]);
        assert!(is_deadlock(a, ToSend(b), b_sends_a));
        assert!(!is_deadlock(a, ToReceive(b), b_sends_a), "that is the message it gets");
        let b_hears_a = waits([(b, ToReceive(a)), (c, No)]);
        assert!(!is_deadlock(a, ToSend(b), b_hears_a));
        assert!(is_deadlock(a, ToReceive(b), b_hears_a));
        let circle = waits([(b, ToSend(c)), (c, ToReceive(a))]);
        assert!(is_deadlock(a, ToSend(b), circle), "three are never a conversation");
        let elsewhere = waits([(b, ToSend(c)), (c, ToSend(b))]);
        assert!(
            !is_deadlock(a, ToSend(b), elsewhere),
            "a circle without the caller ends the search"
        );
    }

    #[test]
    fn entries_are_told_apart_by_their_flags() {
        let flags = AsyncFlags::from_bits_retain;
        assert_eq!(entry(flags(0)), Entry::Skip);
        assert_eq!(entry(flags(1)), Entry::Send);
        assert_eq!(entry(flags(1 | 4 | 8 | 16)), Entry::Send);
        assert_eq!(entry(flags(1 | 2)), Entry::Skip);
        assert_eq!(entry(flags(2)), Entry::Malformed, "done but not valid");
        assert_eq!(entry(flags(1 | 0x20)), Entry::Malformed);
        let with = |wishes, result| AsyncMessage {
            result,
            ..AsyncMessage::new(Endpoint::VFS, Message::default(), wishes)
        };
        let (fine, failed) = (minix_abi::Status::OK, Errno::EDEADSRCDST.into());
        assert!(wants_notice(&with(AsyncFlags::NOTIFY, fine)) && wants_notice(&with(AsyncFlags::NOTIFY, failed)));
        assert!(!wants_notice(&with(AsyncFlags::NOTIFY_ERR, fine)));
        assert!(wants_notice(&with(AsyncFlags::NOTIFY_ERR, failed)));
        assert!(!wants_notice(&with(AsyncFlags::empty(), failed)));
    }
}
