//! Interrupt lines.

use minix_abi::kernel_call::{IrqCtl, IrqHook, IrqPolicy, IrqRequest, MAX_SAFE_NOTIFY_ID};
use minix_abi::{Errno, MessageType};

use super::call;
use crate::Ipc;

/// An interrupt line that reports to this service.
///
/// When it fires the kernel masks it and sends a notification from [`HARDWARE`](minix_abi::Endpoint::HARDWARE). Unless the
/// policy is [`REENABLE`](IrqPolicy::REENABLE) it stays masked until [`enable`](Self::enable): after every notification, once
/// the device has been quietened, also when the device turns out to have nothing to say.
///
/// Dropping this does not remove the hook. The end of the process does, but only when the system cleans its slot up, which
/// services that are starting or stopping delay. Until then a hook that has fired keeps the line masked for every other hook on
/// it. So [remove](Self::remove) the hook before the end. A process that has the endpoint of a dead one also has its hooks:
/// attaching under the same notify id replaces the hook of the dead one.
#[derive(Debug, PartialEq, Eq)]
pub struct IrqLine {
    hook: IrqHook,
    notify_id: u8,
}

impl IrqLine {
    /// Hooks a line, which unmasks it. It is reported as bit `notify_id` of a notification's interrupts.
    ///
    /// # Errors
    ///
    /// [`EINVAL`](Errno::EINVAL) for a notify id above 30 or a vector above 127, [`EPERM`](Errno::EPERM) for a vector that the
    /// service's configuration does not list, [`ENOSPC`](Errno::ENOSPC) if the system has no hook left.
    pub fn attach(ipc: &mut impl Ipc, vector: u32, notify_id: u8, policy: IrqPolicy) -> Result<Self, Errno> {
        if i32::from(notify_id) > MAX_SAFE_NOTIFY_ID {
            return Err(Errno::EINVAL);
        }
        let vector = i32::try_from(vector).map_err(|_| Errno::EINVAL)?;
        let request = IrqCtl::set_policy(vector, policy, notify_id.into());
        // SAFETY: there is no address in it.
        let reply = unsafe { call(ipc, MessageType::SYS_IRQCTL, &request) }?;
        Ok(Self {
            hook: reply.payload(),
            notify_id,
        })
    }

    /// Whether the line is among the interrupts of a notification.
    pub const fn is_in(&self, interrupts: u64) -> bool {
        interrupts >> self.notify_id & 1 != 0
    }

    /// Unmasks the line.
    ///
    /// # Errors
    ///
    /// [`EINVAL`](Errno::EINVAL) if the hook is gone.
    pub fn enable(&self, ipc: &mut impl Ipc) -> Result<(), Errno> {
        self.request(ipc, IrqRequest::ENABLE)
    }

    /// Masks the line.
    ///
    /// # Errors
    ///
    /// [`EINVAL`](Errno::EINVAL) if the hook is gone.
    pub fn disable(&self, ipc: &mut impl Ipc) -> Result<(), Errno> {
        self.request(ipc, IrqRequest::DISABLE)
    }

    /// Removes the hook. The other calls fail from then on.
    ///
    /// # Errors
    ///
    /// [`EINVAL`](Errno::EINVAL) if it is gone already.
    pub fn remove(&self, ipc: &mut impl Ipc) -> Result<(), Errno> {
        self.request(ipc, IrqRequest::RMPOLICY)
    }

    fn request(&self, ipc: &mut impl Ipc, request: IrqRequest) -> Result<(), Errno> {
        // SAFETY: there is no address in it.
        unsafe { call(ipc, MessageType::SYS_IRQCTL, &IrqCtl::for_hook(request, self.hook)) }.map(drop)
    }
}
