//! A slot: a device is taken out and another one plugged in.

use board_qemu_virt::{Board, Pci, Source, counters, println};

use super::edu::{self, Edu};
use super::{deadline, fail, in_millis};

/// Answers the removal of the device in the first slot, and takes the next one into use.
pub(crate) fn run(board: &Board, pci: &mut Pci) {
    let Some(mut slot) = pci.slots().next() else {
        fail!("no slot")
    };
    let bus = slot.bus();
    println!("slot {} of port {}", slot.number(), slot.port());
    let in_slot = |pci: &Pci| edu::find(pci).find(|address| Some(address.bus()) == bus);
    let Some(address) = in_slot(pci) else {
        fail!("no device in the slot")
    };
    let device = Edu::new(pci, address);
    if !slot.is_occupied() || !slot.has_power() {
        fail!("a device without a slot: {slot:?}");
    }
    slot.set_interrupt(true);
    let interrupt = pci.interrupt(slot.port()).ok().flatten();
    let source = interrupt.and_then(|interrupt| board.source_of(&interrupt));
    let Some(source) = source else {
        fail!("the slot has no interrupt")
    };
    board.interrupts.enable(source);

    println!("take the device out");
    wait_for(board, source, || slot.take_events().button_pressed);
    // It works until it has no power.
    device.try_registers();
    slot.power_off();
    until(|| device.is_gone());
    until(|| slot.take_events().presence_changed);
    board.interrupts.unmask(source);

    println!("plug a device in");
    wait_for(board, source, || {
        slot.take_events();
        slot.is_occupied()
    });
    slot.power_on();
    until(|| in_slot(pci).is_some());
    let Some(assigned) = pci.assign_slot(&slot) else {
        fail!("in use")
    };
    println!("{assigned:?}");
    if pci.assign_slot(&slot).is_some() {
        fail!("a device in use has been moved");
    }
    let device = Edu::new(pci, address);
    device.try_registers();
    board.interrupts.disable(source);
    slot.set_interrupt(false);
    device.try_pin(board, pci);
    println!("the slot works");
}

/// Waits until something is so, and looks at each interrupt of the slot.
fn wait_for(board: &Board, source: Source, mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        if !board.interrupts.wait(source, deadline()) {
            fail!("no interrupt of the slot");
        }
        board.interrupts.unmask(source);
    }
}

/// Waits until something is so.
fn until(mut is_so: impl FnMut() -> bool) {
    let end = in_millis(5_000);
    while !is_so() {
        if counters::now() >= end {
            fail!("the slot does not change");
        }
    }
}
