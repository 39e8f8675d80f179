//! Other ways to the registers: ports, the window in configuration space, and plain memory.

mod common;

use std::cell::UnsafeCell;
use std::ptr::NonNull;

use common::{Plugged, enable, forms};
use virtio_blk_model::{ModelBar, ModelConfig, ModelFunction, PciForm};
use virtio_core::{DeviceStatus, FeatureChoice, Features, Init, PollLimit, QueueIndex, QueueNotifier, Transport};
use virtio_pci::pci_types::{ConfigRegionAccess, PciAddress};
use virtio_pci::registers::common as registers;
use virtio_pci::{
    BarRange, BarSpace, CfgWindows, Doorbell, MapBar, Mapper, MemoryWindow, NoPorts, PciFunction, PortAccess,
    PortWindow, ProbeError, RegisterAccess, Structure, StructureError, Window, probe,
};

/// The ports of a machine with one device: those from 0x1000 on are its BAR 0.
#[derive(Clone)]
struct Ports(ModelBar);

impl Ports {
    fn of(plugged: &Plugged) -> Self {
        let mut bar = None;
        struct Keep<'b>(&'b mut Option<ModelBar>, ModelFunction);
        // SAFETY: it asks the model.
        unsafe impl MapBar for Keep<'_> {
            type Window = ModelBar;
            fn map(&mut self, range: &BarRange) -> Option<ModelBar> {
                let window = self.1.map(range);
                *self.0 = window.clone();
                window
            }
        }
        probe(plugged.handle(), &mut Keep(&mut bar, plugged.function.clone())).unwrap();
        Self(bar.unwrap())
    }

    fn offset(port: u16) -> u32 {
        u32::from(port.checked_sub(0x1000).expect("a port of the device"))
    }
}

// SAFETY: the ports are those of a model.
unsafe impl PortAccess for Ports {
    fn read_u8(&self, port: u16) -> u8 {
        self.0.read_u8(Self::offset(port))
    }
    fn read_u16(&self, port: u16) -> u16 {
        self.0.read_u16(Self::offset(port))
    }
    fn read_u32(&self, port: u16) -> u32 {
        self.0.read_u32(Self::offset(port))
    }
    unsafe fn write_u8(&self, port: u16, value: u8) {
        // SAFETY: the caller keeps the contract, here and below.
        unsafe { self.0.clone().write_u8(Self::offset(port), value) }
    }
    unsafe fn write_u16(&self, port: u16, value: u16) {
        // SAFETY: as above.
        unsafe { self.0.clone().write_u16(Self::offset(port), value) }
    }
    unsafe fn write_u32(&self, port: u16, value: u32) {
        // SAFETY: as above.
        unsafe { self.0.clone().write_u32(Self::offset(port), value) }
    }
}

/// Brings a device up and rings once.
fn bring_up<T: Transport>(plugged: &Plugged, transport: &mut T) {
    let choice = FeatureChoice {
        supported: Features::empty(),
        required: Features::empty(),
    };
    let init = Init::begin(transport, &mut PollLimit(9))
        .unwrap()
        .acknowledge()
        .driver()
        .unwrap();
    let mut init = init.negotiate(choice).unwrap();
    // SAFETY: the memory belongs to the model and stays allocated.
    unsafe { init.enable_queue(QueueIndex(0), &plugged.queue(256)).unwrap() };
    init.finish().unwrap();
    transport.notifier(QueueIndex(0), Features::empty()).notify(0).unwrap();
    assert_eq!(plugged.model.counters().notifies, 1);
    assert!(transport.status().unwrap().contains(DeviceStatus::DRIVER_OK));
    assert_eq!(transport.read_config_u32(0), Ok(16384));
    transport.reset(&mut PollLimit(9)).unwrap();
    plugged.model.assert_clean();
}

#[test]
fn a_legacy_device_is_driven_through_ports() {
    let plugged = Plugged::legacy();
    let ports = Ports::of(&plugged);
    // SAFETY: nothing is mapped; the ports are those of a model.
    let mut mapper = unsafe { Mapper::with_ports(|_: &BarRange| None, ports) };
    let mut transport = probe(plugged.handle(), &mut mapper).unwrap();
    bring_up(&plugged, &mut transport);
}

#[test]
fn a_machine_without_ports_says_so() {
    let plugged = Plugged::legacy();
    let mut asked = Vec::new();
    // SAFETY: nothing is mapped.
    let mut mapper = unsafe {
        Mapper::new(|range: &BarRange| {
            asked.push((range.space(), range.address()));
            None
        })
    };
    let error = probe(plugged.handle(), &mut mapper).map(|_| ()).unwrap_err();
    assert_eq!(
        error,
        ProbeError::Structure(Structure::Legacy, StructureError::NotMapped)
    );
    assert_eq!(asked, [(BarSpace::Ports, 0x1000)]);
}

#[test]
fn ports_end_at_the_last_one() {
    let ports = Ports::of(&Plugged::legacy());
    // SAFETY: nothing is accessed outside of the model's ports.
    unsafe {
        assert!(PortWindow::new(ports.clone(), 0xFFFF, 1).is_some());
        assert!(PortWindow::new(ports.clone(), 0xFFFF, 2).is_none());
        let window = PortWindow::new(ports, 0x1000, 24).unwrap();
        assert_eq!(window.read_u32(24), u32::MAX);
        assert_eq!(window.read_u16(23), u16::MAX);
        assert_eq!(window.read_u32(u32::MAX), u32::MAX);
        assert_eq!(window.read_u16(1), u16::MAX, "not aligned");
        assert_eq!(window.read_u8(0x12), 0);
    }
}

// Shows PCI-D-45, PCI-D-46.
#[test]
fn a_modern_device_is_driven_through_configuration_space() {
    for form in [PciForm::Transitional, PciForm::Modern] {
        let plugged = Plugged::new(form, ModelConfig::modern());
        let mut function = plugged.handle();
        let windows = CfgWindows::new(&mut function).unwrap();
        let second = CfgWindows::new(&mut function).map(|_| ()).unwrap_err();
        assert_eq!(second, StructureError::InUse, "the steps of two would mix");
        let mut transport = probe(function, &mut &windows).unwrap();
        bring_up(&plugged, &mut transport);
        // The table of vectors is no structure of VirtIO.
        let error = transport.open_msix(&mut &windows).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("cannot be mapped"), "{error}");
    }
}

/// A function at another address than the model has it.
#[derive(Clone)]
struct At(ModelFunction);

impl ConfigRegionAccess for At {
    unsafe fn read(&self, _: PciAddress, offset: u16) -> u32 {
        // SAFETY: the caller keeps the contract, here and below.
        unsafe { self.0.read(self.0.address(), offset) }
    }

    unsafe fn write(&self, _: PciAddress, offset: u16, value: u32) {
        // SAFETY: as above.
        unsafe { self.0.write(self.0.address(), offset, value) }
    }
}

#[test]
fn the_window_of_one_function_does_not_reach_another() {
    let function = |device| {
        let function = At(Plugged::modern().function.clone());
        // SAFETY: a model; it uses no memory but its own.
        unsafe { PciFunction::new(function, PciAddress::new(0, 0, device, 0)) }
    };
    let (mut first, second) = (function(1), function(2));
    let windows = CfgWindows::new(&mut first).unwrap();
    let error = probe(second, &mut &windows).map(|_| ()).unwrap_err();
    assert_eq!(
        error,
        ProbeError::Structure(Structure::Common, StructureError::NotMapped)
    );
}

#[test]
fn a_device_without_the_window_has_none() {
    let missing = |plugged: &Plugged| CfgWindows::new(&mut plugged.handle()).map(|_| ()).unwrap_err();
    assert_eq!(missing(&Plugged::legacy()), StructureError::Missing);
    let plugged = Plugged::modern();
    plugged.function.poke(0x86, &[16]);
    assert_eq!(missing(&plugged), StructureError::CapabilityTooShort);
}

#[test]
fn a_mapper_can_choose_where_each_piece_is() {
    // Ports through a window in memory, as on machines that have them there.
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = plugged.transport();
        bring_up(&plugged, &mut transport);
        let mut again = plugged.transport();
        common::negotiate(&mut again, Features::empty());
        enable(&mut again, &plugged.queue(256)).unwrap();
    }
}

/// Device memory of 64 bytes.
#[repr(align(8))]
struct Memory(UnsafeCell<[u8; 64]>);

fn window(memory: &Memory, bytes: u32) -> MemoryWindow {
    let base = NonNull::new(memory.0.get().cast()).unwrap();
    // SAFETY: the memory is only touched through the window while it exists.
    unsafe { MemoryWindow::new(base, bytes) }
}

#[test]
fn a_memory_window_reaches_every_register_in_its_width() {
    let memory = Memory(UnsafeCell::new([0; 64]));
    let mut window = window(&memory, 64);
    // SAFETY: plain memory, here and below.
    unsafe {
        registers::DEVICE_STATUS.write(&mut window, 0x0F);
        registers::QUEUE_SELECT.write(&mut window, 0x1234);
        registers::QUEUE_DESC_LOW.write(&mut window, 0x89AB_CDEF);
        let doorbell = window.doorbell(0x3C);
        doorbell.ring_u32(0x1111_2222);
        doorbell.ring_u16(0x3333);
    }
    assert_eq!(registers::DEVICE_STATUS.read(&window), 0x0F);
    assert_eq!(registers::CONFIG_GENERATION.read(&window), 0);
    assert_eq!(window.read_u16(0x16), 0x1234);
    assert_eq!(window.read_u32(0x20), 0x89AB_CDEF);
    assert_eq!(window.read_u8(0x20), 0xEF, "little-endian");
    assert_eq!(window.read_u32(0x3C), 0x1111_3333);
}

#[test]
fn nothing_outside_a_memory_window_is_touched() {
    let memory = Memory(UnsafeCell::new([7; 64]));
    let mut window = window(&memory, 16);
    for offset in [16, 14, 13, u32::MAX, u32::MAX - 3] {
        assert_eq!(window.read_u32(offset), u32::MAX);
        // SAFETY: out of the window, so nothing happens; here and below.
        unsafe { window.write_u32(offset, 0) };
    }
    assert_eq!((window.read_u16(15), window.read_u8(16)), (u16::MAX, u8::MAX));
    assert_eq!(window.read_u16(3), u16::MAX, "not aligned");
    // SAFETY: as above.
    unsafe {
        window.write_u8(16, 0);
        window.write_u16(15, 0);
        let doorbell = window.doorbell(14);
        doorbell.ring_u32(0);
        let outside = window.doorbell(16);
        outside.ring_u16(0);
        outside.ring_u32(0);
        window.doorbell(u32::MAX).ring_u16(0);
    }
    assert_eq!(memory.0.into_inner(), [7; 64]);
}

#[test]
fn a_window_without_ports_is_memory() {
    let memory = Memory(UnsafeCell::new([0; 64]));
    let mut either: Window<NoPorts> = Window::Memory(window(&memory, 64));
    // SAFETY: plain memory.
    unsafe {
        either.write_u8(0, 1);
        either.write_u16(2, 2);
        either.write_u32(4, 3);
        either.doorbell(8).ring_u16(4);
        either.doorbell(12).ring_u32(5);
    }
    let read = (
        either.read_u8(0),
        either.read_u16(2),
        either.read_u32(4),
        either.read_u32(8),
        either.read_u32(12),
    );
    assert_eq!(read, (1, 2, 3, 4, 5));
}
