//! A disk that is so slow for a while, again and again, that the service resets its device.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use guest_protocol::Record;

use crate::qmp::Qmp;
use crate::report::{Guest, records};

/// QEMU's name of the disk.
const DRIVE: &str = "d0";
/// Requests that it does in a second while it is slow.
const SLOW: u64 = 2;
/// How long it is slow: longer than the time-out that the clients ask for. And how long it is not.
const SLOW_FOR: Duration = Duration::from_millis(700);
const QUICK_FOR: Duration = Duration::from_millis(900);

/// Follows a guest, from the first report of a witness on.
#[derive(Debug)]
pub(crate) struct Brake {
    socket: PathBuf,
    qmp: Option<Qmp>,
    is_slow: bool,
    /// When that changes.
    next: Option<Instant>,
    failed: Option<String>,
}

impl Brake {
    pub(crate) fn new(socket: &Path) -> Brake {
        Brake {
            socket: socket.to_owned(),
            qmp: None,
            is_slow: false,
            next: None,
            failed: None,
        }
    }

    /// Makes the disk slow, or quick again, if it is time for that.
    pub(crate) fn follow(&mut self, guest: &Guest) {
        let now = Instant::now();
        let Some(next) = self.next else {
            let begun = records!(guest, Record::Asked { .. } => ()).next().is_some();
            self.next = begun.then_some(now + QUICK_FOR);
            return;
        };
        // At the end QEMU is gone.
        if now < next || self.failed.is_some() || guest.done().is_some() {
            return;
        }
        self.is_slow = !self.is_slow;
        self.next = Some(now + if self.is_slow { SLOW_FOR } else { QUICK_FOR });
        let rate = if self.is_slow { SLOW } else { 0 };
        self.failed = self.limit(rate).err().map(|error| format!("{error:#}"));
    }

    /// So many requests a second; 0: as many as come.
    fn limit(&mut self, rate: u64) -> Result<()> {
        let qmp = match &mut self.qmp {
            Some(qmp) => qmp,
            none => none.insert(Qmp::connect(&self.socket)?),
        };
        qmp.limit(DRIVE, rate)
    }

    /// What went wrong. QEMU may end while it is asked, so of a guest that came to its end this says nothing; whether the device was
    /// reset shows in what the service prints.
    pub(crate) fn finish(self, guest: &Guest) -> Option<String> {
        let failed = self.failed.filter(|_| guest.done().is_none());
        failed.map(|error| format!("the disk was not slowed down: {error}"))
    }
}
