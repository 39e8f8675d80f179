//! Kernel calls: what a service asks of the kernel itself.
//!
//! A call is a message whose type is the call's number. The kernel changes the message in place: its type becomes the
//! [`Status`](crate::Status), its source [`SYSTEM`](crate::Endpoint::SYSTEM), and some calls leave results in the body. The
//! register that traps usually return their result in is **not** written.
//!
//! | status | common meaning |
//! |---|---|
//! | [`ECALLDENIED`](crate::Errno::ECALLDENIED) | the call is not in the service's mask |
//! | [`EBADREQUEST`](crate::Errno::EBADREQUEST) | there is no such call |
//! | [`ENOTREADY`](crate::Errno::ENOTREADY) | not now; to be repeated after a tick, and then after longer and longer waits |
//!
//! A call whose message is not readable and writable memory is answered with a fatal signal.

mod copy;
mod diag;
mod info;
mod irq;
mod map;
mod privilege;
mod process;
mod time;

pub use copy::{MAX_COPIES, SafeCopy, VectorCopy, VectorCopyElement, VirCopy};
pub use diag::{DiagCode, DiagCtl, MAX_DIAG_BYTES};
pub use info::{GetInfo, InfoRequest, WhoAmI};
pub use irq::{
    IrqCtl, IrqHook, IrqPolicy, IrqRequest, MAX_HOOKS, MAX_NOTIFY_ID, MAX_SAFE_NOTIFY_ID, MAX_SERVICE_IRQS, VECTORS,
};
pub use map::{
    GrantedRange, MAX_RANGES, MapAccess, MapElement, PhysRange, Segment, Umap, UmapReply, Vumap, VumapReply,
    filled_ranges, total_bytes,
};
pub use privilege::{MAX_MEM_RANGES, MemRange, PrivCtl, PrivFlags, PrivRequest};
pub use process::{KernelSignal, SetGrant, StateCtl, StateRequest};
pub use time::{DEFAULT_HZ, NO_ALARM, SetAlarm, Times, TimesReply};

use crate::MessageType;

codes! {
    impl MessageType as KERNEL_CALLS {
        /// Clean up after a process.
        SYS_CLEAR = 0x602,
        /// Give a process to a scheduler.
        SYS_SCHEDULE = 0x603,
        /// Change what a process may do: [`PrivCtl`].
        SYS_PRIVCTL = 0x604,
        /// Send a signal: [`KernelSignal`].
        SYS_KILL = 0x606,
        /// Signal managers: fetch signals that wait: [`KernelSignal`].
        SYS_GETKSIG = 0x607,
        /// Signal managers: done with signals: [`KernelSignal`].
        SYS_ENDKSIG = 0x608,
        /// Find the physical address of own memory: [`Umap`].
        SYS_UMAP = 0x60E,
        /// Copy between address spaces: [`VirCopy`].
        SYS_VIRCOPY = 0x60F,
        /// Copy between physical addresses: [`VirCopy`].
        SYS_PHYSCOPY = 0x610,
        /// Find the physical address of memory of any process: [`Umap`].
        SYS_UMAP_REMOTE = 0x611,
        /// Find the physical addresses of scattered memory: [`Vumap`].
        SYS_VUMAP = 0x612,
        /// Interrupt lines: [`IrqCtl`].
        SYS_IRQCTL = 0x613,
        /// Port input and output. This machine has none; the number exists.
        SYS_DEVIO = 0x615,
        /// Port input and output of strings. This machine has none; the number exists.
        SYS_SDEVIO = 0x616,
        /// Port input and output of vectors. This machine has none; the number exists.
        SYS_VDEVIO = 0x617,
        /// Set an alarm: [`SetAlarm`]. Allowed to every service.
        SYS_SETALARM = 0x618,
        /// Read the clock: [`Times`]. Allowed to every service.
        SYS_TIMES = 0x619,
        /// Ask about the system: [`GetInfo`]. Allowed to every service.
        SYS_GETINFO = 0x61A,
        /// Copy out of a grant: [`SafeCopy`]. Allowed to every service.
        SYS_SAFECOPYFROM = 0x61F,
        /// Copy into a grant: [`SafeCopy`]. Allowed to every service.
        SYS_SAFECOPYTO = 0x620,
        /// Several copies in one call: [`VectorCopy`]. Allowed to every service.
        SYS_VSAFECOPY = 0x621,
        /// Say where the grant table is: [`SetGrant`]. Allowed to every service.
        SYS_SETGRANT = 0x622,
        /// Read from the firmware's memory.
        SYS_READBIOS = 0x623,
        /// Set the clock.
        SYS_SETTIME = 0x628,
        /// For VM alone.
        SYS_VMCTL = 0x62B,
        /// Diagnostic output: [`DiagCtl`]. Allowed to every service.
        SYS_DIAGCTL = 0x62C,
        /// Virtual timers of a process.
        SYS_VTIMER = 0x62D,
        /// Stop and continue a process.
        SYS_RUNCTL = 0x62E,
        /// End the calling process. It has no fields and does not return; RS sees it as
        /// [`ABRT`](crate::signal::Signal::ABRT), which after a request to stop is a clean end. Allowed to every service.
        SYS_EXIT = 0x635,
        /// State that other processes keep about the caller: [`StateCtl`]. Allowed to every service.
        SYS_STATECTL = 0x637,
        /// Fill a grant with a byte. Allowed to every service.
        SYS_SAFEMEMSET = 0x638,
    }
}

impl MessageType {
    /// The first number of the kernel calls.
    pub const FIRST_KERNEL_CALL: Self = Self(0x600);
    /// How many numbers belong to kernel calls.
    pub const KERNEL_CALL_COUNT: i32 = 58;

    /// Whether the number belongs to the kernel calls, and which bit of a call mask it is.
    pub const fn kernel_call_index(self) -> Option<u32> {
        let index = self.0.wrapping_sub(Self::FIRST_KERNEL_CALL.0);
        if index >= 0 && index < Self::KERNEL_CALL_COUNT {
            Some(index as u32)
        } else {
            None
        }
    }
}
