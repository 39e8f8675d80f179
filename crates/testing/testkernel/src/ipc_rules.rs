//! Decisions of message passing: which wait would be a deadlock, what to do with an entry of an asynchronous table.

use minix_abi::Endpoint;
use minix_abi::ipc::{AsyncFlags, AsyncMessage};

/// What a process waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// For nothing, or for a message from any process.
    No,
    ToSend(Endpoint),
    ToReceive(Endpoint),
}

impl Waits {
    /// The other process, and whether this is a wait to send.
    fn peer(self) -> Option<(Endpoint, bool)> {
        match self {
            Waits::No => None,
            Waits::ToSend(to) => Some((to, true)),
            Waits::ToReceive(from) => Some((from, false)),
        }
    }
}

/// Whether `caller` would wait for ever if it waited like that: a circle of waiters. Two that wait for each other, one to
/// send and one to receive, are no circle but a conversation.
pub fn is_deadlock(caller: Endpoint, wait: Waits, waits: impl Fn(Endpoint) -> Waits) -> bool {
    let Some((mut at, sends)) = wait.peer() else {
        return false;
    };
    // No chain is longer than there are processes.
    for length in 1..=Endpoint::PROCESSES {
        match waits(at).peer() {
            None => return false,
            Some((next, next_sends)) if next == caller => return length != 1 || sends == next_sends,
            Some((next, _)) => at = next,
        }
    }
    false
}

/// What to do with an entry of an asynchronous table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Skip,
    /// Skip it, and complain on the console.
    Malformed,
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

/// Whether the sender wants a notification that an entry is done.
pub fn wants_notification(entry: &AsyncMessage) -> bool {
    let failed = entry.result.result().is_err();
    entry.flags.contains(AsyncFlags::NOTIFY) || failed && entry.flags.contains(AsyncFlags::NOTIFY_ERR)
}

#[cfg(test)]
mod tests {
    use minix_abi::{Errno, Message};

    use super::*;

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
        let with = |flags, result| AsyncMessage {
            result,
            ..AsyncMessage::new(Endpoint::VFS, Message::default(), flags)
        };
        let (fine, failed) = (minix_abi::Status::OK, Errno::EDEADSRCDST.into());
        assert!(
            wants_notification(&with(AsyncFlags::NOTIFY, fine))
                && wants_notification(&with(AsyncFlags::NOTIFY, failed))
        );
        assert!(!wants_notification(&with(AsyncFlags::NOTIFY_ERR, fine)));
        assert!(wants_notification(&with(AsyncFlags::NOTIFY_ERR, failed)));
        assert!(!wants_notification(&with(AsyncFlags::empty(), failed)));
    }
}
