//! Grants to other processes: a table that the kernel reads when a process uses a grant.

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use minix_abi::grant::{DirectGrant, GrantEntry, GrantFlags};
use minix_abi::kernel_call::SetGrant;
use minix_abi::{Endpoint, Errno, GrantId, MessageType, Pad};

use crate::Ipc;
use crate::kernel::call;

/// Memory for the table of `N` grants. A [`Fixed`](crate::Fixed) can hold it.
#[derive(Clone, Debug)]
pub struct Table<const N: usize>([GrantEntry; N]);

impl<const N: usize> Table<N> {
    /// A table without a grant.
    pub const fn new() -> Self {
        Self(
            [const {
                GrantEntry {
                    flags: GrantFlags::empty(),
                    sequence: 0,
                    body: [0; 24],
                    faulted: GrantId(0),
                    pad: Pad::ZERO,
                }
            }; N],
        )
    }
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The grants of this service, `N` at a time.
pub struct Grants<const N: usize> {
    /// `N` entries. Only this value writes them; the kernel reads them at any time, and notes faults.
    table: NonNull<GrantEntry>,
}

// SAFETY: the table came as an exclusive reference, which may go to another thread as well.
unsafe impl<const N: usize> Send for Grants<N> {}

impl<const N: usize> Grants<N> {
    /// Grants in `table`. They can be used after [`register`](Self::register).
    pub fn new(table: &'static mut Table<N>) -> Self {
        *table = Table::new();
        Self {
            table: NonNull::from(&mut table.0).cast(),
        }
    }

    /// Tells the kernel where the table is. Has to be repeated only in a process that took the memory over from another one.
    ///
    /// # Errors
    ///
    /// None but those that all kernel calls share.
    pub fn register(&mut self, ipc: &mut impl Ipc) -> Result<(), Errno> {
        let request = SetGrant {
            table: self.table.as_ptr().expose_provenance() as u64,
            entries: i32::try_from(N).map_err(|_| Errno::EINVAL)?,
            pad: Pad::ZERO,
        };
        // SAFETY: the table has that many entries and, borrowed for ever, stays where it is.
        unsafe { call(ipc, MessageType::SYS_SETGRANT, &request) }.map(drop)
    }

    /// Lets `to` (or [`ANY`](Endpoint::ANY)) at `bytes` bytes of own memory, with
    /// [`READ`](GrantFlags::READ), [`WRITE`](GrantFlags::WRITE) or both. `None` if the table is full.
    ///
    /// # Safety
    ///
    /// For `READ`: no code writes the memory while the grantee reads it. For `WRITE`: nothing in the program uses the memory
    /// while the grantee writes it, and every content is valid.
    ///
    /// The grantee can read and write until [`revoke`](Self::revoke), and so can processes that it hands the grant on to. A
    /// device that works for one of them, which may be this very program, goes on after that, until its request is done or it
    /// is reset: revoking a grant stops copies, and no device.
    pub unsafe fn direct(&mut self, to: Endpoint, address: u64, bytes: u64, access: GrantFlags) -> Option<GrantId> {
        let index = (0..N).find(|&index| !self.flags(index).contains(GrantFlags::USED))?;
        let place = self.entry(index);
        // SAFETY: the entry is in the table; only this value changes sequence numbers.
        let sequence = unsafe { (*place).sequence };
        let sequence = u32::try_from(sequence).ok()?;
        let id = GrantId::new(u32::try_from(index).ok()?, sequence)?;
        let grant = DirectGrant {
            grantee: to,
            pad: Pad::ZERO,
            start: address,
            bytes,
        };
        let entry = GrantEntry::direct(sequence, access, grant);
        // SAFETY: the entry is in the table, and without flags the kernel does not look at the rest of it.
        unsafe { (&raw mut (*place).body).write_volatile(entry.body) };
        self.publish(index, entry.flags);
        Some(id)
    }

    /// Revokes a grant. Copies with it fail from now on, also when the entry has been used for another one. An id
    /// that is no grant of this table, any more, changes nothing.
    pub fn revoke(&mut self, id: GrantId) {
        let (Some(index), Some(sequence)) = (id.index(), id.sequence()) else {
            return;
        };
        let index = index as usize;
        if index >= N || !self.flags(index).contains(GrantFlags::USED) {
            return;
        }
        let place = self.entry(index);
        // SAFETY: the entry is in the table; only this value changes sequence numbers.
        if unsafe { (*place).sequence } != sequence.cast_signed() {
            return;
        }
        self.publish(index, GrantFlags::empty());
        let next = GrantId::next_sequence(sequence).cast_signed();
        // SAFETY: as above, and without flags the kernel does not look at it.
        unsafe { (&raw mut (*place).sequence).write_volatile(next) };
    }

    /// Hands memory to `to` for as long as `body` runs, say a request that has the grant in it. `to` copies, and gives the
    /// memory to no device.
    pub(crate) fn reading<R>(&mut self, to: Endpoint, memory: &[u8], body: impl FnOnce(GrantId) -> R) -> Option<R> {
        let address = memory.as_ptr().expose_provenance() as u64;
        // SAFETY: the memory is borrowed until the grant is revoked, so no code writes it.
        let id = unsafe { self.direct(to, address, memory.len() as u64, GrantFlags::READ) }?;
        let lent = Lent { grants: self, id };
        Some(body(lent.id))
    }

    /// Has `to` fill in memory for as long as `body` runs, by copies and not by a device.
    pub(crate) fn filling<R>(&mut self, to: Endpoint, memory: &mut [u8], body: impl FnOnce(GrantId) -> R) -> Option<R> {
        let address = memory.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the memory is borrowed exclusively until the grant is revoked, so no code uses it; bytes are always valid.
        let id = unsafe { self.direct(to, address, memory.len() as u64, GrantFlags::WRITE) }?;
        let lent = Lent { grants: self, id };
        Some(body(lent.id))
    }

    fn entry(&self, index: usize) -> *mut GrantEntry {
        debug_assert!(index < N);
        // SAFETY: callers only have indices of entries; the table has N of them.
        unsafe { self.table.as_ptr().add(index) }
    }

    fn flags(&self, index: usize) -> GrantFlags {
        // SAFETY: the entry is in the table; the kernel does not change flags.
        unsafe { (*self.entry(index)).flags }
    }

    /// Writes the flags of an entry. A reader that sees them sees everything that was written before.
    fn publish(&mut self, index: usize, flags: GrantFlags) {
        fence(Ordering::SeqCst);
        // SAFETY: the entry is in the table. The write is volatile as the kernel may look at any time.
        unsafe { (&raw mut (*self.entry(index)).flags).write_volatile(flags) };
        fence(Ordering::SeqCst);
    }
}

/// A grant of memory that is borrowed. It is revoked on drop, so also after a panic, before the borrow ends.
struct Lent<'a, const N: usize> {
    grants: &'a mut Grants<N>,
    id: GrantId,
}

impl<const N: usize> Drop for Lent<'_, N> {
    fn drop(&mut self) {
        self.grants.revoke(self.id);
    }
}

impl<const N: usize> fmt::Debug for Grants<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = (0..N).filter(|&index| !self.flags(index).is_empty()).count();
        f.debug_struct("Grants")
            .field("entries", &N)
            .field("used", &used)
            .finish()
    }
}
