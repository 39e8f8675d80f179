//! Instances of services: how one starts, its privileges, and its memory after its end.

use board_qemu_virt::println;
use guest_protocol::Record;
use minix_abi::kernel_call::PrivFlags;
use minix_abi::rs::{Init, InitType};
use minix_abi::{Endpoint, GrantId, Message, MessageType};
use testkernel::config::SYSTEM_NAMES;

use super::service::Kind;
use super::system::System;
use crate::kernel::deliver::post;
use crate::kernel::ipc;
use crate::kernel::process::{SYSTEM_BITS, Slot, bit};
use crate::kernel::report::emit;

pub(super) fn launch_fresh(system: &mut System, index: usize) -> Result<(), &'static str> {
    let slot = create(system, index)?;
    let endpoint = system.kernel.processes[slot].endpoint;
    let service = &mut system.services[index];
    service.endpoint = endpoint;
    let label = service.label();
    match service.kind {
        Kind::Driver(major) => system.vfs.map(major, endpoint),
        Kind::Program(typed) => {
            system.vfs.start(endpoint, typed)?;
            let vm_calls = system.services[index].config.vm_calls;
            system.kernel.processes[slot].make_user(vm_calls);
            say_started(system, index);
            system.kernel.wake(slot);
            return Ok(());
        }
        Kind::Client | Kind::Background => {}
    }
    privilege(system, index, slot, PrivFlags::empty());
    system.ds.set_label(label, Some(endpoint));
    release(system, index, slot, InitType::FRESH);
    Ok(())
}

pub(super) fn create(system: &mut System, index: usize) -> Result<Slot, &'static str> {
    let service = &system.services[index];
    let slot = system
        .kernel
        .create(&service.program, service.priority(), service.is_program())
        .map_err(|error| {
            println!("RS: {}: {error}", service.label());
            "the program cannot be loaded"
        })?;
    system.kernel.processes[slot].is_driver = service.is_driver();
    Ok(slot)
}

/// Lets a new instance run, with its initialisation waiting for it.
pub(super) fn release(system: &mut System, index: usize, slot: Slot, kind: InitType) {
    let service = &system.services[index];
    let (endpoint, restarts) = (service.endpoint, service.life.restarts() as i32);
    say_started(system, index);
    let old_endpoint = if kind == InitType::FRESH {
        Endpoint::NONE
    } else {
        endpoint
    };
    // Grant 0: RS grants nothing here, so reading the process table gives EPERM.
    let init = Init {
        kind,
        old_endpoint,
        restarts,
        process_table: GrantId(0),
        ..Init::default()
    };
    system.kernel.wake(slot);
    let message = Message::with_payload(MessageType::RS_INIT, &init);
    post(&mut system.kernel, Endpoint::RS, slot, message, false);
    system.kernel.clock.look_now();
}

fn say_started(system: &System, index: usize) {
    let service = &system.services[index];
    emit(&Record::Started {
        label: service.label(),
        endpoint: service.endpoint.0,
        program: service.program.program,
    });
}

/// Fills in the privileges of a process, and lets its partners send to it.
pub(super) fn privilege(system: &mut System, index: usize, slot: Slot, more: PrivFlags) {
    let services = &system.services;
    let service = &services[index];
    let mut flags = PrivFlags::DYN_PRIV_ID | PrivFlags::SYS_PROC | more;
    if service.config.irqs.is_some() {
        flags |= PrivFlags::CHECK_IRQ;
    }
    let mut send_to = if service.config.partners.is_none() {
        SYSTEM_BITS
    } else {
        let named = SYSTEM_NAMES.iter().filter(|(name, _)| service.config.names(name, name));
        named.fold(0, |mask, (_, endpoint)| mask | bit(*endpoint))
    };
    for other in services.iter().filter(|other| other.endpoint != service.endpoint) {
        let Some(partner) = system.kernel.processes.find(other.endpoint) else {
            continue;
        };
        // A receiver may answer.
        if service.allows(other) || other.allows(service) {
            send_to |= bit(other.endpoint);
            system.kernel.processes[partner].privileges.send_to |= bit(service.endpoint);
        }
    }
    let privileges = &mut system.kernel.processes[slot].privileges;
    privileges.kernel_calls = service.config.kernel_calls;
    privileges.vm_calls = service.config.vm_calls;
    privileges.flags = flags.bits() as i32;
    privileges.send_to = send_to;
    privileges.irqs = service.config.irqs;
}

/// Ends the process of a service. Processes that wait for it go on waiting.
pub(super) fn end_process(system: &mut System, index: usize) {
    let (kernel, service) = (&mut system.kernel, &mut system.services[index]);
    let endpoint = service.endpoint;
    let Some(slot) = kernel.processes.find(endpoint) else {
        return;
    };
    let owes_nothing = !kernel.requests.has_asked(endpoint);
    let process = &kernel.processes[slot];
    service.instructions += process.user_instructions;
    if let Some(closed_at) = process.closed_at {
        service.leave.closed(closed_at);
    }
    let batch = kernel.kill(slot);
    for other in kernel.processes.iter() {
        let process = &mut kernel.processes[other];
        process.privileges.send_to &= !bit(endpoint);
        process.ipc.notified_by &= !bit(endpoint);
    }
    kernel.ports.outbox.retain(|posted| posted.to != endpoint);
    kernel.requests.forget(endpoint);
    if service.is_driver() {
        if let Err(batch) = service.dead.push(batch) {
            // More deaths than a start can have. Rather lose the memory than the care.
            println!("RS: the memory of {batch:?} is lost");
        }
    } else if owes_nothing {
        kernel.frames.release(batch);
    }
    // The memory of a client that died with requests out is not used again: the device may write to it at any time.
}

/// Ends a service under its endpoint: process, label and major number.
pub(super) fn retire(system: &mut System, index: usize) {
    disinherit(system, index);
    end_process(system, index);
    let service = &system.services[index];
    let (endpoint, label) = (service.endpoint, service.label());
    system.ds.set_label(label, None);
    system.vfs.forget(&mut system.kernel, endpoint);
    system.vfs.gone(&mut system.kernel, endpoint);
    ipc::clear_references(&mut system.kernel, endpoint);
}

/// The replacement goes, and with it the memory it has inherited. From now on that memory could have another owner, and
/// nothing may change in it any more.
fn disinherit(system: &mut System, index: usize) {
    let service = &mut system.services[index];
    if core::mem::take(&mut service.is_inherited) {
        for &batch in &service.dead {
            service.damaged += system.kernel.frames.check_poison(batch) as u64;
        }
    }
}

/// Checks the memory of dead instances for the last time, and lets it be used again.
pub(in crate::kernel) fn release_dead_memory(system: &mut System, index: usize) {
    disinherit(system, index);
    let service = &mut system.services[index];
    if service.dead.is_empty() {
        return;
    }
    let (mut frames, mut after) = (0, 0);
    for &batch in &service.dead {
        assert_ne!(
            system.kernel.frames.batch_size(batch),
            0,
            "the memory of a dead process was not kept back"
        );
        frames += system.kernel.frames.batch_size(batch) as u64;
        after += system.kernel.frames.check_poison(batch) as u64;
        system.kernel.frames.release(batch);
    }
    service.dead.clear();
    let before = core::mem::take(&mut service.damaged);
    emit(&Record::Poison { frames, before, after });
    if after != 0 {
        system.kernel.failures.0 += 1;
    }
}
