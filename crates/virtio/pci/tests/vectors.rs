//! MSI-X: the table, masks, and which event goes where.

mod common;

use common::{Plugged, enable, forms};
use virtio_blk_model::{ModelBar, ModelConfig, PciForm};
use virtio_core::{Features, InterruptCauses, InterruptSource, InterruptVector, PollLimit, QueueSetupError, Transport};
use virtio_pci::pci_types::CommandRegister;
use virtio_pci::{BarError, MsiMessage, MsixError, MsixTable, Structure, StructureError};

const USED: InterruptCauses = InterruptCauses::USED_BUFFER;
const CONFIG: InterruptCauses = InterruptCauses::CONFIG_CHANGE;

fn message(data: u32) -> MsiMessage {
    // SAFETY: the model writes messages nowhere.
    unsafe { MsiMessage::new(0x2800_0000, data) }
}

fn open(plugged: &Plugged, transport: &mut common::ModelTransport) -> MsixTable<ModelBar> {
    transport
        .open_msix(&mut plugged.function.clone())
        .expect("there are vectors")
}

/// A live device with a queue and the configuration on these vectors.
fn live(plugged: &Plugged, config: u16, queue: u16) -> (common::ModelTransport, MsixTable<ModelBar>) {
    let mut transport = plugged.transport();
    let table = open(plugged, &mut transport);
    common::negotiate(&mut transport, Features::empty());
    transport.set_config_vector(Some(InterruptVector(config))).unwrap();
    let mut setup = plugged.queue(256);
    setup.vector = Some(InterruptVector(queue));
    enable(&mut transport, &setup).unwrap();
    let status = transport.status().unwrap() | virtio_core::DeviceStatus::DRIVER_OK;
    transport.write_status(status);
    (transport, table)
}

#[test]
fn each_vector_sends_its_message() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let (_transport, mut table) = live(&plugged, 0, 2);
        table.set(InterruptVector(0), message(40)).unwrap();
        table.set(InterruptVector(2), message(42)).unwrap();
        plugged.model.resize(99);
        assert_eq!(plugged.function.take_messages(), [(0x2800_0000, 40)]);
        // A vector in use moves to another hart.
        table.set(InterruptVector(0), message(50)).unwrap();
        plugged.model.resize(100);
        assert_eq!(plugged.function.take_messages(), [(0x2800_0000, 50)]);
        plugged.model.assert_clean();
    }
}

#[test]
fn nothing_fires_before_it_has_a_message() {
    let plugged = Plugged::modern();
    let (_transport, mut table) = live(&plugged, 1, 2);
    plugged.model.resize(99);
    assert_eq!(plugged.function.take_messages(), []);
    assert_eq!(table.is_pending(InterruptVector(1)), Ok(true));
    assert_eq!(table.unmask(InterruptVector(1)), Err(MsixError::NoMessage));
    table.set(InterruptVector(1), message(7)).unwrap();
    assert_eq!(plugged.function.take_messages(), [(0x2800_0000, 7)]);
    assert_eq!(table.is_pending(InterruptVector(1)), Ok(false));
}

#[test]
fn a_masked_vector_is_pending_and_fires_when_it_is_let() {
    let plugged = Plugged::modern();
    let (mut transport, mut table) = live(&plugged, 1, 2);
    table.set(InterruptVector(1), message(7)).unwrap();
    table.mask(InterruptVector(1)).unwrap();
    plugged.model.resize(99);
    assert_eq!(plugged.function.take_messages(), []);
    table.unmask(InterruptVector(1)).unwrap();
    assert_eq!(plugged.function.take_messages(), [(0x2800_0000, 7)]);

    transport.mask_vectors(true);
    plugged.model.resize(98);
    assert_eq!(plugged.function.take_messages(), []);
    transport.mask_vectors(false);
    assert_eq!(plugged.function.take_messages(), [(0x2800_0000, 7)]);
}

// Shows PCI-D-33.
#[test]
fn vectors_outside_the_table_are_refused() {
    let plugged = Plugged::modern();
    let mut transport = plugged.transport();
    let setup = |vector| virtio_core::QueueSetup {
        vector: Some(InterruptVector(vector)),
        ..plugged.queue(16)
    };
    common::negotiate(&mut transport, Features::empty());
    assert_eq!(
        enable(&mut transport, &setup(0)),
        Err(QueueSetupError::VectorRefused),
        "MSI-X is off"
    );
    let mut table = open(&plugged, &mut transport);
    assert_eq!(table.vectors(), 3);
    for vector in [3, 0x7FF, 0xFFFF] {
        assert_eq!(
            enable(&mut transport, &setup(vector)),
            Err(QueueSetupError::VectorRefused)
        );
        let refused = transport.set_config_vector(Some(InterruptVector(vector)));
        assert_eq!(refused, Err(QueueSetupError::VectorRefused));
        assert_eq!(
            table.set(InterruptVector(vector), message(0)),
            Err(MsixError::NoSuchVector)
        );
        assert_eq!(table.mask(InterruptVector(vector)), Err(MsixError::NoSuchVector));
        assert_eq!(table.unmask(InterruptVector(vector)), Err(MsixError::NoSuchVector));
        assert_eq!(table.is_pending(InterruptVector(vector)), Err(MsixError::NoSuchVector));
    }
    plugged.model.assert_clean();
}

// Shows PCI-D-34.
#[test]
fn a_vector_that_the_device_refuses_is_told() {
    for (form, config) in forms() {
        let plugged = Plugged::new(form, config);
        let mut transport = plugged.transport();
        let _table = open(&plugged, &mut transport);
        common::negotiate(&mut transport, Features::empty());
        plugged.function.refuse_vectors(&[1]);
        assert_eq!(
            transport.set_config_vector(Some(InterruptVector(1))),
            Err(QueueSetupError::VectorRefused)
        );
        assert_eq!(transport.set_config_vector(Some(InterruptVector(0))), Ok(()));
        let mut setup = plugged.queue(256);
        setup.vector = Some(InterruptVector(1));
        assert_eq!(enable(&mut transport, &setup), Err(QueueSetupError::VectorRefused));
        setup.vector = Some(InterruptVector(2));
        assert_eq!(enable(&mut transport, &setup), Ok(()));
        plugged.model.assert_clean();
    }
}

// Shows PCI-D-29, PCI-D-42.
#[test]
fn a_vector_tells_its_causes_without_a_register() {
    let plugged = Plugged::modern();
    let (mut transport, _table) = live(&plugged, 0, 1);
    let before = plugged.function.accesses();
    let causes = |transport: &mut common::ModelTransport, vector| {
        let source = InterruptSource::Vector(InterruptVector(vector));
        let causes = transport.interrupt_causes(source);
        assert!(!transport.acknowledge_interrupt(source, causes), "nothing can be lost");
        causes
    };
    assert_eq!(causes(&mut transport, 0), CONFIG);
    assert_eq!(causes(&mut transport, 1), USED);
    assert_eq!(
        transport.interrupt_causes(InterruptSource::Line),
        InterruptCauses::empty()
    );
    assert_eq!(plugged.function.accesses(), before);
    drop(transport);

    let plugged = Plugged::modern();
    let (mut transport, _table) = live(&plugged, 1, 1);
    assert_eq!(causes(&mut transport, 1), CONFIG | USED);
    plugged.model.assert_clean();
}

#[test]
fn an_event_can_have_no_vector() {
    let plugged = Plugged::modern();
    let (mut transport, mut table) = live(&plugged, 0, 1);
    table.set(InterruptVector(0), message(1)).unwrap();
    assert_eq!(transport.set_config_vector(None), Ok(()));
    plugged.model.resize(99);
    assert_eq!(plugged.function.take_messages(), []);
    assert_eq!(table.is_pending(InterruptVector(0)), Ok(false));
}

// Shows PCI-D-35.
#[test]
fn vectors_are_opened_once_and_given_back() {
    let plugged = Plugged::modern();
    let mut transport = plugged.transport();
    let table = open(&plugged, &mut transport);
    assert_eq!(
        transport.open_msix(&mut plugged.function.clone()).map(|_| ()),
        Err(MsixError::InUse)
    );
    transport.close_msix(table).expect("its own table");
    common::negotiate(&mut transport, Features::empty());
    transport.write_status(transport.status().unwrap() | virtio_core::DeviceStatus::DRIVER_OK);
    plugged.model.resize(99);
    assert!(plugged.function.line(), "interrupts come by the line again");
    assert_eq!(transport.interrupt_causes(InterruptSource::Line), CONFIG);
}

#[test]
fn a_function_has_one_table_at_a_time() {
    let plugged = Plugged::modern();
    let mut transport = plugged.transport();
    let table = open(&plugged, &mut transport);
    let mut again = virtio_pci::probe(transport.into_function(), &mut plugged.function.clone()).unwrap();
    let second = again.open_msix(&mut plugged.function.clone()).map(|_| ());
    assert_eq!(second, Err(MsixError::InUse), "two would mix the halves of a message");
    again.close_msix(table).expect("the table of this function");
    let _second = open(&plugged, &mut again);
}

// Shows LEG-D-19.
#[test]
fn the_place_of_a_legacy_configuration_depends_on_vectors() {
    let plugged = Plugged::legacy();
    let mut transport = plugged.transport();
    assert_eq!(transport.read_config_u32(0), Ok(16384));
    let table = open(&plugged, &mut transport);
    assert_eq!(transport.read_config_u32(0), Ok(16384));
    transport.close_msix(table).unwrap();
    assert_eq!(transport.read_config_u32(0), Ok(16384));
    plugged.model.assert_clean();
}

#[test]
fn vectors_that_firmware_left_on_are_switched_off() {
    let plugged = Plugged::legacy();
    plugged.function.poke(0x98 + 3, &[0x80]);
    assert_eq!(plugged.transport().read_config_u32(0), Ok(16384));
}

#[test]
fn a_device_without_vectors_has_none_to_open() {
    let plugged = Plugged::with_vectors(PciForm::Modern, ModelConfig::modern(), 0);
    let mut transport = plugged.transport();
    assert_eq!(
        transport.open_msix(&mut plugged.function.clone()).map(|_| ()),
        Err(MsixError::Missing)
    );
}

// Shows PCI-D-30.
#[test]
fn any_size_of_the_table_is_usable() {
    for vectors in [1, 2, 128] {
        let plugged = Plugged::with_vectors(PciForm::Modern, ModelConfig::modern(), vectors);
        let (_transport, mut table) = live(&plugged, 0, vectors - 1);
        assert_eq!(table.vectors(), vectors);
        table.set(InterruptVector(vectors - 1), message(3)).unwrap();
        plugged.model.assert_clean();
    }
}

#[test]
fn a_table_past_its_bar_is_refused() {
    let plugged = Plugged::modern();
    let refused = |at: u8, bytes: &[u8]| {
        let plugged = Plugged::modern();
        plugged.function.poke(at, bytes);
        let mut transport = plugged.transport();
        transport
            .open_msix(&mut plugged.function.clone())
            .map(|_| ())
            .unwrap_err()
    };
    let past = StructureError::Bar(BarError::PastTheEnd);
    let none = StructureError::Bar(BarError::NoSuchBar);
    assert_eq!(
        refused(0x9A, &[0xFF, 0x07]),
        MsixError::Structure(Structure::MsixTable, past)
    );
    assert_eq!(refused(0x9C, &[7]), MsixError::Structure(Structure::MsixTable, none));
    assert_eq!(
        refused(0xA0, &[1, 0x10]),
        MsixError::Structure(Structure::MsixPending, past)
    );
    assert!(
        !plugged
            .transport()
            .function()
            .command()
            .contains(CommandRegister::BUS_MASTER_ENABLE)
    );
}

#[test]
fn a_reset_unmaps_all_events() {
    let plugged = Plugged::modern();
    let (mut transport, mut table) = live(&plugged, 0, 1);
    table.set(InterruptVector(0), message(1)).unwrap();
    transport.reset(&mut PollLimit(9)).unwrap();
    for vector in [0, 1].map(InterruptVector) {
        let causes = transport.interrupt_causes(InterruptSource::Vector(vector));
        assert_eq!(causes, InterruptCauses::empty());
    }
    plugged.model.resize(99);
    assert_eq!(plugged.function.take_messages(), []);
}
