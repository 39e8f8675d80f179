//! Which server gets a message.

use minix_abi::Endpoint;

use super::system::System;
use super::{rs, vm};
use crate::kernel::deliver::reply;
use crate::kernel::ports::Received;

/// Serves all messages that processes have sent to servers.
pub(in crate::kernel) fn serve(system: &mut System) {
    while let Some(received) = system.kernel.ports.inbox.pop_front() {
        let Received {
            server,
            from,
            message,
            call,
        } = received;
        let kernel = &mut system.kernel;
        match server {
            Endpoint::RS => rs::receive(system, from, &message, call),
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
