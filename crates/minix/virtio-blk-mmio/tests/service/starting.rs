//! A start that fails, or that does with less: what RS is told, what the log says, and what is left of it.

use minix_abi::kernel_call::IrqRequest;
use minix_abi::rs::InitType;
use minix_abi::{Endpoint, Errno, MessageType};
use minix_virtio_blk::args::Arguments;
use virtio_blk_model::{ModelConfig, StartFault};
use virtio_core::DeviceStatus;

use crate::journal::{lines, printed};
use crate::order::{Event, LINE_HOOK, Machine, Refused, arguments, brings_up, brings_up_with, events, machine_of};

fn machine(config: ModelConfig, refused: Refused) -> Machine {
    machine_of(config, InitType::FRESH, refused)
}

fn is_memory(event: &Event) -> bool {
    matches!(event, Event::Asked(Endpoint::VM, MessageType::VM_MMAP, _))
}

fn is_line(event: &Event) -> bool {
    matches!(event, Event::Line(..))
}

fn is_announced(machine: &Machine) -> bool {
    machine.process.state().store.numbers.contains_key("drv.blk.disk")
}

#[test]
fn a_disk_that_is_not_there_is_told_and_nothing_is_touched() {
    let mut machine = machine(ModelConfig::modern(), Refused::default());
    let third = Arguments {
        instance: 2,
        ..arguments()
    };
    assert_eq!(brings_up_with(&mut machine, &third), Err(Errno::ENODEV));
    assert_eq!(lines(), ["no block device number 2, counted from 0: 2 found"]);
    let events = events();
    assert!(!events.iter().any(|event| is_line(event) || is_memory(event)));
    assert!(!events.iter().any(|event| matches!(event, Event::Written(..))));
    assert!(!is_announced(&machine));
}

#[test]
fn a_device_whose_reset_does_not_end_gets_no_memory_and_no_line() {
    let stuck = ModelConfig {
        stuck_reset: true,
        ..ModelConfig::modern()
    };
    let mut machine = machine(stuck, Refused::default());
    assert_eq!(brings_up(&mut machine), Err(Errno::EIO));
    assert_eq!(lines(), ["the device did not finish its reset in time"]);
    let events = events();
    assert!(
        !events.iter().any(|event| is_line(event) || is_memory(event)),
        "{events:?}"
    );
    assert!(!is_announced(&machine));
}

#[test]
fn a_device_that_does_not_come_up_leaves_the_line_free() {
    let memory = Refused {
        larger: Some(0),
        ..Refused::default()
    };
    for (fault, refused, errno, why) in [
        (
            Some(StartFault::NoQueue),
            Refused::default(),
            Errno::EIO,
            "the device has no request queue",
        ),
        (
            Some(StartFault::FeaturesRefused),
            Refused::default(),
            Errno::EIO,
            "the device refused the features accepted (0x130006e54)",
        ),
        (
            None,
            memory,
            Errno::ENOMEM,
            "no contiguous DMA memory of that size is left",
        ),
    ] {
        let mut machine = machine(ModelConfig::modern(), refused);
        machine.chosen.set_start_faults(fault);
        assert_eq!(brings_up(&mut machine), Err(errno), "{fault:?}");
        assert!(!machine.chosen.status().contains(DeviceStatus::DRIVER_OK));
        assert!(
            events().contains(&Event::Line(IrqRequest::RMPOLICY, LINE_HOOK)),
            "{fault:?}"
        );
        assert!(machine.process.state().hooked.is_empty(), "{fault:?}");
        assert!(!is_announced(&machine));
        assert_eq!(lines().last().map(String::as_str), Some(why));
    }
}

#[test]
fn the_version_of_the_device_is_told() {
    for (config, version) in [(ModelConfig::legacy(), 1), (ModelConfig::modern(), 2)] {
        let mut machine = machine(config, Refused::default());
        assert_eq!(brings_up(&mut machine), Ok(()));
        let line = format!("block device 1 at 0x10006000, irq 6, version {version}");
        assert_eq!(printed(&line), 1, "{:?}", lines());
        assert!(is_announced(&machine));
    }
}

#[test]
fn a_disk_smaller_than_its_block_is_served_and_told() {
    for (capacity, told) in [(7, 1), (8, 0)] {
        let config = ModelConfig {
            capacity,
            block_size: 4096,
            ..ModelConfig::modern()
        };
        let mut machine = machine(config, Refused::default());
        assert_eq!(brings_up(&mut machine), Ok(()));
        assert_eq!(printed("no whole block"), told, "{capacity}");
        assert!(is_announced(&machine));
    }
}

#[test]
fn a_queue_that_memory_is_too_short_for_is_told() {
    for (larger, told) in [(None, 0), (Some(96 << 10), 1)] {
        let refused = Refused {
            larger,
            ..Refused::default()
        };
        let mut machine = machine(ModelConfig::modern(), refused);
        assert_eq!(brings_up(&mut machine), Ok(()));
        let line = "memory is short: a queue of 64 descriptors at most, not 128";
        assert_eq!(printed(line), told, "{:?}", lines());
    }
}

#[test]
fn without_a_clock_rate_the_usual_one_does() {
    for clock_rate in [false, true] {
        let refused = Refused {
            clock_rate,
            ..Refused::default()
        };
        let mut machine = machine(ModelConfig::modern(), refused);
        assert_eq!(brings_up(&mut machine), Ok(()));
        let told = printed("the kernel does not tell its clock rate");
        assert_eq!((told, is_announced(&machine)), (usize::from(clock_rate), true));
    }
}
