//! Endpoints: who a message comes from or goes to.

use core::fmt;

codes! {
    /// The address of a process: a slot of the process table and the generation of its user.
    ///
    /// The generation tells the present user of a slot from former ones, so a message to a process that is gone fails
    /// with [`EDEADSRCDST`](crate::Errno::EDEADSRCDST) and does not reach another process in the same slot. Kernel tasks have negative slots.
    /// The processes of the boot image are generation 0, their endpoint is their slot.
    pub struct Endpoint(i32) {
        /// Kernel: tells senders that an asynchronous message is done with.
        ASYNCM = -5,
        /// Kernel: runs when no other process can.
        IDLE = -4,
        /// Kernel: alarms come from here.
        CLOCK = -3,
        /// Kernel: carries out kernel calls; their replies come from here.
        SYSTEM = -2,
        /// Kernel: interrupts come from here. Also called `KERNEL`.
        HARDWARE = -1,
        /// Process manager.
        PM = 0,
        /// Virtual file system.
        VFS = 1,
        /// Reincarnation server: starts, watches and restarts services.
        RS = 2,
        /// Memory driver.
        MEM = 3,
        /// Scheduler.
        SCHED = 4,
        /// Terminal driver.
        TTY = 5,
        /// Data store.
        DS = 6,
        /// Management information base.
        MIB = 7,
        /// Virtual memory server.
        VM = 8,
        /// Pipe file system.
        PFS = 9,
        /// The file system of the boot image.
        MFS = 10,
        /// First user process.
        INIT = 11,
        /// Any process: as a source, every sender; in a grant, every grantee.
        ANY = 0x7C00,
        /// No process.
        NONE = 0x7BFF,
        /// The caller.
        SELF = 0x7BFE,
    }
}

impl Endpoint {
    /// Distance between two generations of a slot.
    pub const GENERATION_STEP: i32 = 1 << 15;
    /// How far slots can go below zero: 1023 kernel tasks could be told apart.
    pub const MAX_TASKS: i32 = 1023;
    /// Kernel tasks there are: slots -5 to -1.
    pub const TASKS: i32 = 5;
    /// User processes there can be at a time, services included: slots 0 to 255.
    pub const PROCESSES: i32 = 256;
    /// Services there can be at a time.
    pub const SERVICES: i32 = 64;
    /// The smallest slot an endpoint can name.
    pub const MIN_SLOT: i32 = -Self::MAX_TASKS;
    /// The largest slot an endpoint can name. It belongs to [`ANY`](Self::ANY), not to a process.
    pub const MAX_SLOT: i32 = Self::GENERATION_STEP - 1 - Self::MAX_TASKS;

    /// The endpoint of a slot's user number `generation`; `None` if `slot` is not within
    /// [`MIN_SLOT`](Self::MIN_SLOT)`..=`[`MAX_SLOT`](Self::MAX_SLOT).
    pub const fn new(generation: u16, slot: i32) -> Option<Self> {
        if slot < Self::MIN_SLOT || slot > Self::MAX_SLOT {
            return None;
        }
        // The largest sum is 65535 * 32768 + 31744, which still fits.
        Some(Self(generation as i32 * Self::GENERATION_STEP + slot))
    }

    /// The slot: negative for a kernel task. Any endpoint gives a number from [`MIN_SLOT`](Self::MIN_SLOT) to
    /// [`MAX_SLOT`](Self::MAX_SLOT), also one no process has.
    pub const fn slot(self) -> i32 {
        (self.0.wrapping_add(Self::MAX_TASKS) & (Self::GENERATION_STEP - 1)) - Self::MAX_TASKS
    }

    /// How often the slot had been used before. Outside of 0 to 65535 for a number that is no endpoint.
    pub const fn generation(self) -> i32 {
        // The sum is taken in 64 bits: numbers that are no endpoints can be too close to the end of 32.
        ((self.0 as i64 + Self::MAX_TASKS as i64) >> 15) as i32
    }

    /// Whether this could be a process or kernel task, as opposed to [`ANY`](Self::ANY), [`NONE`](Self::NONE),
    /// [`SELF`](Self::SELF) or garbage. It does not tell whether the process still exists.
    pub const fn is_process(self) -> bool {
        let (generation, slot) = (self.generation(), self.slot());
        generation >= 0 && generation <= u16::MAX as i32 && slot >= -Self::TASKS && slot < Self::PROCESSES
    }

    /// Whether this is a part of the kernel.
    pub const fn is_kernel_task(self) -> bool {
        self.is_process() && self.slot() < 0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "{} (slot {}, generation {})", self.0, self.slot(), self.generation()),
        }
    }
}
