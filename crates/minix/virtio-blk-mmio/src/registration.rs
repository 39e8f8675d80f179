//! The service in the data store: its disk, and the mark of a running service.
//!
//! Two services on one disk would ruin it, as each resets the device and keeps a queue of its own. So a service publishes its
//! endpoint under a key that names the window of the device, before it touches the device. A key that is there already is
//! another service's, unless that is dead. Whether it is dead cannot be seen from the device, whose status a dead driver
//! leaves as it was, nor by sending to the endpoint: a slot that RS has not cleaned up yet takes messages. The label tells:
//! RS takes it from a dead instance before it starts the next one, with any label.

use core::fmt::{self, Write as _};

use heapless::String;
use minix_abi::ds::{BLOCK_DRIVER_PREFIX, DRIVER_UP, MAX_KEY_BYTES};
use minix_abi::{Endpoint, Errno};
use minix_rt::Ipc;
use minix_rt::ds::{self, Label};
use minix_rt::grant::{self, Grants};

/// Start of the keys under which services say which disk they have; the address of the window follows. It is none of the keys that
/// the file server looks out for.
const DISK_PREFIX: &str = "virtio_blk@";

/// Grants of the service: one at a time, for a key.
const GRANTS: usize = 2;

/// Memory for the grants of the service.
pub type GrantTable = grant::Table<GRANTS>;

/// Why the service does not get a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// Another service has it.
    Taken {
        /// The label of that.
        label: Label,
        /// Its endpoint.
        endpoint: Endpoint,
    },
    /// The data store or the kernel refused something.
    Refused(Errno),
}

impl ClaimError {
    /// The error that RS is told.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Taken { .. } => Errno::EBUSY,
            Self::Refused(errno) => *errno,
        }
    }
}

impl From<Errno> for ClaimError {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { label, endpoint } => write!(f, "it is served by {label}, endpoint {}", endpoint.0),
            Self::Refused(errno) => write!(f, "the data store does not say whose it is: {errno}"),
        }
    }
}

impl core::error::Error for ClaimError {}

/// What the service tells the data store.
#[derive(Debug)]
pub struct Registration {
    grants: Grants<GRANTS>,
    endpoint: Endpoint,
}

impl Registration {
    /// For the service with this endpoint.
    ///
    /// # Errors
    ///
    /// What the kernel says to its table of grants.
    pub fn new(ipc: &mut impl Ipc, table: &'static mut GrantTable, endpoint: Endpoint) -> Result<Self, Errno> {
        let mut grants = Grants::new(table);
        grants.register(ipc)?;
        Ok(Self { grants, endpoint })
    }

    /// Takes the disk whose registers are at a physical address.
    ///
    /// RS starts one service at a time. Two services started without waiting can find the same dead one. Then the last to write
    /// has the disk.
    ///
    /// # Errors
    ///
    /// [`ClaimError`].
    pub fn claim(&mut self, ipc: &mut impl Ipc, window: u64) -> Result<(), ClaimError> {
        let mut key = String::<MAX_KEY_BYTES>::new();
        write!(key, "{DISK_PREFIX}{window:#x}").map_err(|_| Errno::ENAMETOOLONG)?;
        let own = self.endpoint.0.cast_unsigned();
        match ds::publish_new_u32(ipc, &mut self.grants, &key, own) {
            Err(Errno::EEXIST) => {}
            other => return other.map_err(ClaimError::from),
        }
        self.must_not_live(ipc, &key)?;
        ds::publish_u32(ipc, &mut self.grants, &key, own)?;
        self.must_not_live(ipc, &key)
    }

    /// Fails if another running service has the key.
    fn must_not_live(&mut self, ipc: &mut impl Ipc, key: &str) -> Result<(), ClaimError> {
        let endpoint = match ds::retrieve_u32(ipc, &mut self.grants, key) {
            Ok(number) => Endpoint(number.cast_signed()),
            // It has gone just now.
            Err(Errno::ESRCH) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        if endpoint == self.endpoint {
            return Ok(());
        }
        match ds::own_label(ipc, &mut self.grants, endpoint) {
            Ok(label) => Err(ClaimError::Taken { label, endpoint }),
            Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Tells the data store that the driver with this service's label is up. From then on requests can come.
    ///
    /// # Errors
    ///
    /// What the data store or the kernel refused.
    pub fn announce(&mut self, ipc: &mut impl Ipc) -> Result<(), Errno> {
        let label = ds::own_label(ipc, &mut self.grants, self.endpoint)?;
        let mut key = String::<MAX_KEY_BYTES>::new();
        write!(key, "{BLOCK_DRIVER_PREFIX}{label}").map_err(|_| Errno::ENAMETOOLONG)?;
        ds::publish_u32(ipc, &mut self.grants, &key, DRIVER_UP)
    }
}
