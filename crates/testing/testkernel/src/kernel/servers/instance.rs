//! Instances of services: how one is made, what it may do, and what becomes of its memory.

use board_qemu_virt::println;
use guest_protocol::Record;
use heapless::Vec;
use minix_abi::kernel_call::PrivFlags;
use minix_abi::rs::{Init, InitType};
use minix_abi::{Endpoint, GrantId, Message, MessageType};
use testkernel::config::Irqs;
use testkernel::ipc_rules::{SYSTEM_NAMES, system_bit};
use testkernel::scenario::Program as Launch;

use super::post;
use super::rs::Kind;
use crate::kernel::process::{Name, Slot};
use crate::kernel::{Kernel, Program, ipc, scenario_run};

pub(super) fn launch_fresh(kernel: &mut Kernel, index: usize) -> Result<(), &'static str> {
    let slot = create(kernel, index)?;
    let endpoint = kernel.processes[slot].endpoint;
    let service = &mut kernel.high.rs.services[index];
    service.endpoint = endpoint;
    let (label, major) = (service.launch.label, service.major);
    privilege(kernel, index, slot, PrivFlags::empty());
    let name = Name::try_from(label).map_err(|_| "the label is too long")?;
    kernel.high.ds.set_label(&name, Some(endpoint));
    if let Some(major) = major {
        kernel.high.vfs.map(major, endpoint);
    }
    release(kernel, index, slot, InitType::FRESH);
    Ok(())
}

pub(super) fn create(kernel: &mut Kernel, index: usize) -> Result<Slot, &'static str> {
    let service = &kernel.high.rs.services[index];
    let Launch {
        program,
        label,
        arguments,
    } = service.launch;
    let words: Vec<&str, 16> = arguments.split_ascii_whitespace().collect();
    let program = Program {
        label,
        program,
        arguments: &words,
        priority: service.priority(),
    };
    kernel.create(&program).map_err(|error| {
        println!("RS: {label}: {error}");
        "the program cannot be loaded"
    })
}

/// Lets a new instance run, with its initialisation waiting for it.
pub(super) fn release(kernel: &mut Kernel, index: usize, slot: Slot, kind: InitType) {
    let service = &kernel.high.rs.services[index];
    let (endpoint, restarts) = (service.endpoint, service.life.restarts() as i32);
    scenario_run::emit(&Record::Started {
        label: service.launch.label,
        endpoint: endpoint.0,
        program: service.launch.program,
    });
    let old_endpoint = if kind == InitType::FRESH {
        Endpoint::NONE
    } else {
        endpoint
    };
    // Grant 0: RS grants nothing here, so whoever reads the process table gets EPERM.
    let init = Init {
        kind,
        old_endpoint,
        restarts,
        process_table: GrantId(0),
        ..Init::default()
    };
    kernel.wake(slot);
    post(
        kernel,
        Endpoint::RS,
        slot,
        Message::with_payload(MessageType::RS_INIT, &init),
        false,
    );
    kernel.high.run.poke();
}

/// Fills in what a process may do, and who may send to it.
pub(super) fn privilege(kernel: &mut Kernel, index: usize, slot: Slot, more: PrivFlags) {
    let services = &kernel.high.rs.services;
    let service = &services[index];
    let mut flags = PrivFlags::DYN_PRIV_ID | PrivFlags::SYS_PROC | more;
    let irqs = match &service.config.irqs {
        Irqs::All => None,
        Irqs::List(lines) => {
            flags |= PrivFlags::CHECK_IRQ;
            // The parser has checked that they are vectors.
            Some(lines.iter().fold(0, |mask: u128, line| mask | 1 << line))
        }
    };
    let send_to_system = if service.config.partners.is_none() {
        u32::MAX
    } else {
        let named = SYSTEM_NAMES.iter().filter(|(name, _)| service.config.names(name, name));
        named.fold(0, |mask, (_, endpoint)| mask | system_bit(*endpoint).unwrap_or(0))
    };
    let mut send_to = 0;
    for other in services.iter().filter(|other| other.endpoint != service.endpoint) {
        let Some(partner) = kernel.processes.find(other.endpoint) else {
            continue;
        };
        // Who may ask may be answered.
        if service.allows(other) || other.allows(service) {
            send_to |= 1 << partner.index();
            kernel.processes[partner].privileges.send_to |= 1 << slot.index();
        }
    }
    let privileges = &mut kernel.processes[slot].privileges;
    privileges.kernel_calls = service.config.kernel_calls;
    privileges.vm_calls = service.config.vm_calls;
    privileges.flags = flags.bits() as i32;
    privileges.send_to = send_to;
    privileges.send_to_system = send_to_system;
    privileges.irqs = irqs;
}

/// Takes a process out of the world. What waits for it is left alone.
pub(super) fn bury(kernel: &mut Kernel, index: usize, slot: Slot) {
    let endpoint = kernel.processes[slot].endpoint;
    let owes_nothing = !kernel.high.requests.has_asked(endpoint);
    kernel.high.rs.services[index].instructions += kernel.processes[slot].user_instructions;
    let batch = kernel.kill(slot);
    for other in kernel.processes.iter() {
        let process = &mut kernel.processes[other];
        process.privileges.send_to &= !(1 << slot.index());
        process.ipc.notified_by &= !(1 << slot.index());
    }
    kernel.high.outbox.forget(endpoint);
    kernel.high.requests.forget(endpoint);
    let service = &mut kernel.high.rs.services[index];
    if service.kind == Kind::Driver {
        if let Err(batch) = service.dead.push(batch) {
            // More deaths than a start can have. Rather lose the memory than the care.
            println!("RS: the memory of {batch:?} is lost");
        }
    } else if owes_nothing {
        kernel.frames.release(batch);
    }
    // The memory of a client that died with requests out is not used again: the device may write to it at any time.
}

/// Nobody goes by the endpoint of a service any more.
pub(super) fn unpublish(kernel: &mut Kernel, index: usize) {
    let service = &kernel.high.rs.services[index];
    let (endpoint, label) = (service.endpoint, service.launch.label);
    kernel
        .high
        .ds
        .set_label(&Name::try_from(label).unwrap_or_default(), None);
    kernel.high.vfs.forget(endpoint);
    ipc::clear_references(kernel, endpoint);
}

/// The replacement goes, and with it what it has inherited. From now on that memory could be anybody's, and nothing may
/// change in it any more.
pub(super) fn disinherit(kernel: &mut Kernel, index: usize) {
    let service = &mut kernel.high.rs.services[index];
    if core::mem::take(&mut service.is_inherited) {
        for &batch in &service.dead {
            service.damaged += kernel.frames.check_poison(batch) as u64;
        }
    }
}

/// Checks the memory of dead instances for the last time, and lets it be used again.
pub(in crate::kernel) fn settle(kernel: &mut Kernel, index: usize) {
    // What a replacement still has is no one else's.
    disinherit(kernel, index);
    let service = &mut kernel.high.rs.services[index];
    if service.dead.is_empty() {
        return;
    }
    let (mut frames, mut after) = (0, 0);
    for &batch in &service.dead {
        frames += kernel.frames.batch_size(batch) as u64;
        after += kernel.frames.check_poison(batch) as u64;
        kernel.frames.release(batch);
    }
    service.dead.clear();
    let before = core::mem::take(&mut service.damaged);
    scenario_run::emit(&Record::Poison { frames, before, after });
    if after != 0 {
        kernel.high.run.failures += 1;
    }
}
