//! The controllers of the Advanced Interrupt Architecture, in trees of QEMU's `virt` and in others.

mod common;

use common::{APLIC, Blob, IMSIC, IMSIC_NUMA, PLIC_NUMA, QEMU_VIRT};
use virtio_fdt::{Aplic, DeviceTree, Imsic, InterruptFile, NodeError, PhysRange, Plic};

fn tree(blob: &[u8]) -> DeviceTree<'_> {
    DeviceTree::parse(blob).unwrap()
}

fn file(base_address: u64, hart_index: u32) -> Result<Option<InterruptFile>, NodeError> {
    let registers = PhysRange::new(base_address, 0x1000).unwrap();
    Ok(Some(InterruptFile { registers, hart_index }))
}

fn aplics<'a>(tree: &DeviceTree<'a>) -> Vec<Aplic<'a>> {
    tree.aplics().map(Result::unwrap).collect()
}

/// The one for S-mode, and that for M-mode.
fn imsics<'a>(tree: &DeviceTree<'a>) -> [Imsic<'a>; 2] {
    let found: Vec<_> = tree.imsics().map(Result::unwrap).collect();
    found.try_into().unwrap()
}

#[test]
fn a_tree_with_a_plic_has_no_other_controllers() {
    let tree = tree(QEMU_VIRT);
    assert_eq!((tree.aplics().count(), tree.imsics().count()), (0, 0));
}

#[test]
fn a_direct_aplic_delivers_to_each_hart() {
    let tree = tree(APLIC);
    assert_eq!((tree.plics().count(), tree.imsics().count()), (0, 0));
    let [supervisor, machine] = aplics(&tree)[..] else {
        panic!("not two")
    };
    assert_eq!(supervisor.registers, PhysRange::new(0xd00_0000, 0x8000).unwrap());
    assert_eq!((supervisor.source_count, supervisor.msi_parent), (96, None));
    assert_eq!(supervisor.supervisor_delivery(0), Ok(Some(0)));
    assert_eq!(supervisor.supervisor_delivery(1), Ok(Some(1)));
    assert_eq!(supervisor.supervisor_delivery(2), Ok(None));
    assert_eq!(machine.supervisor_delivery(0), Ok(None), "wired to M-mode");
    let window = tree.virtio_mmio_sorted::<8>().unwrap().usable[0];
    let interrupt = window.interrupt.unwrap();
    assert_eq!(interrupt.parent, supervisor.controller);
    assert_eq!(interrupt.specifier(), [1, 4]);
}

#[test]
fn an_aplic_with_an_msi_parent_sends_messages() {
    let tree = tree(IMSIC);
    let [imsic, machine] = imsics(&tree);
    let [aplic, _] = aplics(&tree)[..] else {
        panic!("not two")
    };
    assert_eq!(aplic.msi_parent, imsic.controller.phandle);
    assert_eq!(aplic.supervisor_delivery(0), Ok(None));
    assert_eq!(imsic.id_count, 255);
    // Room for three guests: four pages for each hart.
    assert_eq!(imsic.supervisor_file(0), file(0x2800_0000, 0));
    assert_eq!(imsic.supervisor_file(1), file(0x2800_4000, 1));
    assert_eq!(imsic.supervisor_file(2), Ok(None));
    assert_eq!(machine.supervisor_file(0), Ok(None), "wired to M-mode");
}

#[test]
fn two_groups_of_files_have_a_region_each() {
    let tree = tree(IMSIC_NUMA);
    let [imsic, _] = imsics(&tree);
    assert_eq!(aplics(&tree).len(), 4);
    let addresses = [0x2800_0000, 0x2800_1000, 0x2900_0000, 0x2900_1000];
    for (hart, address) in addresses.into_iter().enumerate() {
        assert_eq!(imsic.supervisor_file(hart as u64), file(address, hart as u32));
    }
}

#[test]
fn two_plics_share_the_harts() {
    let tree = tree(PLIC_NUMA);
    let plics: Vec<Plic<'_>> = tree.plics().map(Result::unwrap).collect();
    let contexts = |plic: &Plic<'_>| [0, 1, 2, 3].map(|hart| plic.supervisor_context(hart).unwrap());
    assert_eq!(contexts(&plics[0]), [Some(1), Some(3), None, None]);
    assert_eq!(contexts(&plics[1]), [None, None, Some(1), Some(3)]);
    let windows = tree.virtio_mmio_sorted::<8>().unwrap();
    assert_eq!(windows.usable[0].interrupt.unwrap().parent, plics[1].controller);
}

/// One hart, and an IMSIC with these properties beside the usual.
fn imsic_with(properties: impl Fn(&mut Blob)) -> Vec<u8> {
    let mut blob = Blob::new();
    blob.begin("cpus").cells("#address-cells", &[1]);
    blob.begin("cpu@0").cells("reg", &[0]);
    blob.begin("intc")
        .text("compatible", "riscv,cpu-intc")
        .cells("phandle", &[1])
        .cells("#interrupt-cells", &[1])
        .end();
    blob.end().end();
    blob.begin("imsics@28000000").text("compatible", "riscv,imsics");
    properties(&mut blob);
    blob.end();
    blob.finish()
}

#[test]
fn an_imsic_with_impossible_numbers_is_refused() {
    let read = |ids: u32, bits: u32| {
        let blob = imsic_with(|blob| {
            blob.cells("reg", &[0, 0x2800_0000, 0x1000])
                .cells("interrupts-extended", &[1, 9])
                .cells("riscv,num-ids", &[ids])
                .cells("riscv,guest-index-bits", &[bits]);
        });
        let imsic = tree(&blob).imsics().next().unwrap();
        imsic.map(|imsic| imsic.supervisor_file(0))
    };
    assert_eq!(read(255, 0), Ok(file(0x2800_0000, 0)));
    assert_eq!(read(0, 0), Err(NodeError::BadValue("riscv,num-ids")));
    assert_eq!(read(2048, 0), Err(NodeError::BadValue("riscv,num-ids")));
    assert_eq!(read(255, 8), Err(NodeError::BadValue("riscv,guest-index-bits")));
}

#[test]
fn a_file_beyond_the_regions_is_refused() {
    let blob = imsic_with(|blob| {
        blob.cells("reg", &[0, 0x2800_0000, 0x1000, 0, 0x2900_0000, 0x800])
            .cells("interrupts-extended", &[u32::MAX, 0, 1, 9])
            .cells("riscv,num-ids", &[63]);
    });
    // The first entry is blanked out, and an unknown phandle has no width.
    let imsic = tree(&blob).imsics().next().unwrap();
    assert_eq!(imsic.map(drop), Err(NodeError::UnknownPhandle(u32::MAX)));

    let blob = imsic_with(|blob| {
        blob.cells("reg", &[0, 0x2800_0000, 0x1000, 0, 0x2900_0000, 0x800])
            .cells("interrupts-extended", &[1, 11, 1, 9])
            .cells("riscv,num-ids", &[63]);
    });
    let imsic = tree(&blob).imsics().next().unwrap().unwrap();
    assert_eq!(imsic.supervisor_file(0), Err(NodeError::BadLength("reg")));
}
