//! Interrupt lines: `SYS_IRQCTL`.
//!
//! A service hooks a line under a *notify id* of its choice and gets a hook number back, which the other requests take.
//! When the line fires, the kernel masks it and notifies the service from [`HARDWARE`](crate::Endpoint::HARDWARE) with the bit
//! of the notify id. Unless the policy is [`REENABLE`](IrqPolicy::REENABLE) the line stays masked until the service
//! enables it, for which the device must have been quietened first.
//!
//! | status | when |
//! |---|---|
//! | [`EINVAL`](crate::Errno::EINVAL) | bad notify id, vector or hook number |
//! | [`EPERM`](crate::Errno::EPERM) | the vector is not in the service's list, or the hook belongs to another process |
//! | [`ENOSPC`](crate::Errno::ENOSPC) | all hooks of the system are in use |

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Payload;

/// Interrupt vectors are 0 to 127.
pub const VECTORS: i32 = 128;
/// The largest notify id the kernel takes.
pub const MAX_NOTIFY_ID: i32 = 63;
/// The largest notify id to use: the kernel forms the bit with a 32-bit signed shift.
pub const MAX_SAFE_NOTIFY_ID: i32 = 30;
/// Hooks there are, for all services together.
pub const MAX_HOOKS: usize = 16;
/// Lines that the configuration of a service can list.
pub const MAX_SERVICE_IRQS: usize = 16;

codes! {
    /// What to do with an interrupt line.
    pub struct IrqRequest(i32) {
        /// Hook a line. This alone unmasks it already. A hook of the same service with the same notify id is replaced.
        SETPOLICY = 1,
        /// Remove a hook. The end of the process does that as well.
        RMPOLICY = 2,
        /// Unmask the line of a hook.
        ENABLE = 3,
        /// Mask the line of a hook.
        DISABLE = 4,
    }
}

flags! {
    /// What the kernel does when a line fires.
    pub struct IrqPolicy(u32) {
        /// Unmask the line again right away.
        REENABLE = 0x001,
    }
}

/// The request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IrqCtl {
    /// The operation.
    pub request: IrqRequest,
    /// The line, for [`SETPOLICY`](IrqRequest::SETPOLICY).
    pub vector: i32,
    /// What happens when it fires, for [`SETPOLICY`](IrqRequest::SETPOLICY).
    pub policy: IrqPolicy,
    /// For [`SETPOLICY`](IrqRequest::SETPOLICY) the notify id, else the hook number.
    pub hook_id: i32,
}

layout!(IrqCtl, 16 {
    request: IrqRequest = 0,
    vector: i32 = 4,
    policy: IrqPolicy = 8,
    hook_id: i32 = 12,
});

impl Payload for IrqCtl {}

impl IrqCtl {
    /// Hooks `vector`, to be reported as bit `notify_id`. The hook number comes back in [`IrqHook`].
    pub const fn set_policy(vector: i32, policy: IrqPolicy, notify_id: i32) -> Self {
        Self {
            request: IrqRequest::SETPOLICY,
            vector,
            policy,
            hook_id: notify_id,
        }
    }

    /// Any of the other requests, for a hook number.
    pub const fn for_hook(request: IrqRequest, hook: IrqHook) -> Self {
        Self {
            request,
            vector: 0,
            policy: IrqPolicy::empty(),
            hook_id: hook.hook_id,
        }
    }
}

/// The reply to [`SETPOLICY`](IrqRequest::SETPOLICY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IrqHook {
    /// The number of the hook, from 1 on.
    pub hook_id: i32,
}

layout!(IrqHook, 4 {
    hook_id: i32 = 0,
});

impl Payload for IrqHook {}
