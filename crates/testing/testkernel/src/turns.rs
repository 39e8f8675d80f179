//! Which server runs next, on a system that charges no process for its time.
//!
//! RS, VFS, DS, PM and SCHED are in one queue of the scheduler. The first process of the queue runs until it waits, and one that
//! a process of a higher queue takes the hart from stays first. So a server that has answered such a process comes first
//! again when that process waits, and finds its next request there: others that were ready before wait for as long as the two
//! go on.

use minix_abi::Endpoint;

/// The queue of the servers. Lower numbers run first.
pub const SERVER_QUEUE: u8 = 7;

/// Whose turn it is among the servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// The server that is first in the queue: it has run, and has not waited since.
    first: Option<Endpoint>,
}

impl Turns {
    /// The position of the work that is done next. `pending` has the servers that have work, the oldest work first.
    pub fn next(&mut self, mut pending: impl Iterator<Item = Endpoint> + Clone) -> Option<usize> {
        let first = self.first;
        if let Some(position) = pending.clone().position(|server| Some(server) == first) {
            return Some(position);
        }
        // It finds nothing to do, and waits.
        self.first = pending.next();
        self.first.map(|_| 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(turns: &mut Turns, pending: &[Endpoint]) -> Option<usize> {
        turns.next(pending.iter().copied())
    }

    #[test]
    fn the_oldest_work_is_done_first() {
        let mut turns = Turns::default();
        assert_eq!(next(&mut turns, &[Endpoint::RS, Endpoint::DS]), Some(0));
        assert_eq!(next(&mut turns, &[Endpoint::DS, Endpoint::PM]), Some(0));
        assert_eq!(next(&mut turns, &[]), None);
        assert_eq!(next(&mut turns, &[Endpoint::PM, Endpoint::DS]), Some(0));
    }

    #[test]
    fn a_server_that_is_asked_again_keeps_its_place() {
        let mut turns = Turns::default();
        assert_eq!(next(&mut turns, &[Endpoint::DS, Endpoint::PM]), Some(0));
        for _ in 0..100 {
            assert_eq!(next(&mut turns, &[Endpoint::PM, Endpoint::DS]), Some(1));
        }
        assert_eq!(next(&mut turns, &[Endpoint::PM]), Some(0), "not asked any more");
    }
}
