//! Interrupt lines and who has hooked them.
//!
//! A line that fires is masked in the controller, by its enable bit and by its priority, before the claim is completed;
//! its hooks get their notification; and it stays masked until every one of them has enabled it again.
//!
//! A hook belongs to an endpoint, not to a process. It outlives a process that dies: the replacement under the same endpoint
//! has it, and if that goes as well, it stays until RS collects dead slots, which RS does when no service is busy.

use board_qemu_virt::{Plic, Source};
use heapless::Vec;
use minix_abi::kernel_call::{IrqPolicy, MAX_HOOKS};
use minix_abi::{Endpoint, Errno};

use super::process::ProcessTable;

/// Owner of hooks that the scenario puts on a line: an endpoint that no process has or had.
const DEAD: Endpoint = Endpoint::NONE;

#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    pub(super) owner: Endpoint,
    vector: i32,
    pub(super) notify_id: i32,
    policy: IrqPolicy,
    /// Keeps the line masked: it has fired, or was disabled.
    pub(super) holds_line: bool,
}

/// An interrupt whose message is still to come.
#[derive(Clone, Copy, Debug)]
struct Late {
    /// In microseconds.
    due: u64,
    owner: Endpoint,
    notify_id: i32,
}

/// The hooks, and the controller.
#[derive(Debug)]
pub(crate) struct Irqs {
    plic: Plic,
    /// A hook that is late holds its line, so it is late once.
    late: Vec<Late, MAX_HOOKS>,
    hooks: [Option<Hook>; MAX_HOOKS],
}

impl Irqs {
    pub(super) fn new(plic: Plic) -> Self {
        plic.reset_context();
        Self {
            plic,
            late: Vec::new(),
            hooks: [None; MAX_HOOKS],
        }
    }

    /// Hooks a line and unmasks it. Answers with the number of the hook, from 1 on.
    ///
    /// The caller has checked line, notify id and permission.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if all hooks are in use.
    pub(crate) fn set_policy(
        &mut self,
        owner: Endpoint,
        vector: i32,
        notify_id: i32,
        policy: IrqPolicy,
    ) -> Result<i32, Errno> {
        let same = |hook: &Option<Hook>| hook.is_some_and(|hook| hook.owner == owner && hook.notify_id == notify_id);
        if let Some(old) = self.hooks.iter().position(same) {
            self.drop_hook(old);
        }
        let free = self.hooks.iter().position(Option::is_none).ok_or(Errno::ENOSPC)?;
        self.hooks[free] = Some(Hook {
            owner,
            vector,
            notify_id,
            policy,
            holds_line: false,
        });
        self.update_mask(vector);
        Ok(free as i32 + 1)
    }

    /// Puts the hook of a dead process on a line. Once it has fired it keeps the line masked until it is
    /// [collected](Self::collect).
    pub(crate) fn add_dead(&mut self, vector: i32) -> Result<(), Errno> {
        self.set_policy(DEAD, vector, 0, IrqPolicy::empty()).map(drop)
    }

    /// Removes a hook. Errors as for [`hold`](Self::hold).
    pub(crate) fn remove(&mut self, owner: Endpoint, hook: i32) -> Result<(), Errno> {
        let index = self.own(owner, hook)?;
        self.drop_hook(index);
        Ok(())
    }

    /// The lines that a process has hooked.
    pub(crate) fn lines_of(&self, owner: Endpoint) -> impl Iterator<Item = i32> {
        self.hooks
            .iter()
            .flatten()
            .filter(move |hook| hook.owner == owner)
            .map(|hook| hook.vector)
    }

    /// Removes the hooks of endpoints that no process has.
    pub(super) fn collect(&mut self, processes: &ProcessTable) {
        for index in 0..MAX_HOOKS {
            if self.hooks[index].is_some_and(|hook| processes.find(hook.owner).is_none()) {
                self.drop_hook(index);
            }
        }
    }

    /// A line that has fired, and its hooks. It is masked until [`complete`](Self::complete) looks at the hooks again.
    pub(super) fn claim(&mut self) -> Option<(i32, Vec<Hook, MAX_HOOKS>)> {
        let source = self.plic.claim()?;
        let line = source.number() as i32;
        self.plic.disable(source);
        self.plic.mask(source);
        let mut fired = Vec::new();
        for hook in self.hooks.iter_mut().flatten().filter(|hook| hook.vector == line) {
            hook.holds_line = !hook.policy.contains(IrqPolicy::REENABLE);
            // There are no more hooks than that.
            let _ = fired.push(*hook);
        }
        Some((line, fired))
    }

    /// Ends the service of a line that was claimed.
    pub(super) fn complete(&mut self, line: i32) {
        self.update_mask(line);
        if let Some(source) = u32::try_from(line).ok().and_then(Source::new) {
            self.plic.complete(source);
        }
    }

    /// The message of an interrupt comes at a time in microseconds. False if there is no room to remember that.
    pub(super) fn delay(&mut self, due: u64, owner: Endpoint, notify_id: i32) -> bool {
        let late = Late { due, owner, notify_id };
        self.late.push(late).is_ok()
    }

    /// An interrupt whose message comes now: the owner of the hook, and its notify id.
    pub(super) fn take_due(&mut self, now: u64) -> Option<(Endpoint, i32)> {
        let due = self.late.iter().position(|late| late.due <= now)?;
        let Late { owner, notify_id, .. } = self.late.remove(due);
        Some((owner, notify_id))
    }

    /// When the next message of an interrupt comes.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.late.iter().map(|late| late.due).min()
    }

    /// A process is dead: messages for it do not come. Its hooks stay.
    pub(super) fn forget(&mut self, owner: Endpoint) {
        self.late.retain(|late| late.owner != owner);
    }

    fn own(&self, owner: Endpoint, hook: i32) -> Result<usize, Errno> {
        let index = hook
            .checked_sub(1)
            .and_then(|index| usize::try_from(index).ok())
            .ok_or(Errno::EINVAL)?;
        match self.hooks.get(index).copied().flatten() {
            None => Err(Errno::EINVAL),
            Some(hook) if hook.owner != owner => Err(Errno::EPERM),
            Some(_) => Ok(index),
        }
    }

    /// Masks the line of a hook, or unmasks it as far as this hook is concerned.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a hook that is not in use, `EPERM` for a hook of another owner.
    pub(crate) fn hold(&mut self, owner: Endpoint, hook: i32, holds_line: bool) -> Result<(), Errno> {
        let index = self.own(owner, hook)?;
        if let Some(hook) = &mut self.hooks[index] {
            hook.holds_line = holds_line;
            let vector = hook.vector;
            self.update_mask(vector);
        }
        Ok(())
    }

    fn drop_hook(&mut self, index: usize) {
        if let Some(hook) = self.hooks[index].take() {
            self.update_mask(hook.vector);
        }
    }

    /// Opens or masks a line as its hooks want it.
    fn update_mask(&self, vector: i32) {
        let Some(source) = u32::try_from(vector).ok().and_then(Source::new) else {
            return;
        };
        if !self.plic.has(source) {
            return;
        }
        let mut hooks = self
            .hooks
            .iter()
            .flatten()
            .filter(|hook| hook.vector == vector)
            .peekable();
        if hooks.peek().is_some() && hooks.all(|hook| !hook.holds_line) {
            // In this order, as MINIX does it: QEMU looks for what is pending when the priority changes, and only then.
            self.plic.enable(source);
            self.plic.unmask(source);
        } else {
            self.plic.disable(source);
            self.plic.mask(source);
        }
    }
}
