//! Which server gets a message, and when.

use guest_protocol::End;
use minix_abi::pm::Exit;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};

use super::system::System;
use super::{instance, rs, vm};
use crate::kernel::deliver::reply;
use crate::kernel::ports::Work;
use crate::kernel::process::Slot;

/// Has the servers do what they have to do, as far as they get to it: all of it before any process runs again, unless
/// processes are [not charged](crate::kernel::state::Kernel::servers_may_run) for their time.
pub(in crate::kernel) fn serve(system: &mut System) {
    while system.kernel.servers_may_run() {
        let Some((server, work)) = system.kernel.ports.pop() else {
            return;
        };
        let (from, message, call) = match work {
            Work::Message { from, message, call } => (from, message, call),
            Work::Start { label, has_process } => {
                start(system, label, has_process);
                continue;
            }
        };
        let kernel = &mut system.kernel;
        match server {
            Endpoint::RS => rs::receive(system, from, &message, call),
            Endpoint::PM => pm(system, from, &message),
            Endpoint::VFS => system.vfs.receive(kernel, from, &message, call),
            Endpoint::VM => {
                let answer = vm::serve(kernel, from, &message);
                reply(kernel, server, from, answer);
            }
            _ => {
                let (answer, announces_driver) = system.ds.serve(kernel, from, &message);
                reply(kernel, server, from, answer);
                if announces_driver {
                    system.vfs.driver_up(kernel, from);
                }
            }
        }
    }
}

/// A message to PM: a program ends. It is not answered.
fn pm(system: &mut System, from: Slot, message: &Message) {
    let index = system.service_of(from);
    match index.map(|index| &mut system.services[index]) {
        Some(program) if program.is_program() && message.kind == MessageType::PM_EXIT => {
            program.result = Some(Status(message.payload::<Exit>().status & 0xFF));
            rs::died(system, from, End::Exit);
        }
        _ => reply(
            &mut system.kernel,
            Endpoint::PM,
            from,
            Message::reply(Errno::ENOSYS.into()),
        ),
    }
}

/// RS starts a service, which takes two steps: it asks PM for a process, and it goes on when PM has answered.
fn start(system: &mut System, label: &'static str, has_process: bool) {
    if !has_process {
        let work = Work::Start {
            label,
            has_process: true,
        };
        system.kernel.ports.push(Endpoint::PM, work);
        return;
    }
    // It may have been told to stop meanwhile.
    let Some(index) = system
        .labelled(label)
        .filter(|&index| !system.services[index].is_gone())
    else {
        return;
    };
    if let Err(reason) = instance::launch_fresh(system, index) {
        (system.kernel.failures).violation(format_args!("no fresh instance: {reason}"));
    }
    system.kernel.clock.look_now();
}
