//! The way of an interrupt from a window to its controller.

mod common;

use common::{Blob, map_tree};
use virtio_fdt::{DeviceTree, Interrupt, NodeError, Phandle};

/// The interrupts of all windows of a blob.
fn interrupts(blob: &[u8]) -> Vec<Result<Option<Interrupt>, NodeError>> {
    DeviceTree::parse(blob)
        .unwrap()
        .virtio_mmio()
        .map(|window| window.map(|window| window.interrupt).map_err(|window| window.reason))
        .collect()
}

/// Phandle of the controller, and the specifier.
fn line(interrupt: &Result<Option<Interrupt>, NodeError>) -> (Option<Phandle>, Vec<u32>) {
    let interrupt = interrupt.unwrap().unwrap();
    (interrupt.parent.phandle, interrupt.specifier().to_vec())
}

fn window(blob: &mut Blob, base: u32, interrupts: &[u32]) {
    blob.begin(&format!("virtio@{base:x}"))
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0, base, 0x200])
        .cells("interrupts", interrupts)
        .end();
}

#[test]
fn linux_phandle_counts_as_phandle() {
    let mut blob = Blob::new();
    blob.cells("interrupt-parent", &[5]);
    blob.begin("plic@c000000")
        .text("compatible", "riscv,plic0")
        .cells("linux,phandle", &[5])
        .cells("#interrupt-cells", &[1])
        .cells("riscv,ndev", &[31])
        .cells("interrupts-extended", &[6, 9])
        .cells("reg", &[0, 0xc00_0000, 0x1000])
        .end();
    blob.begin("cpus").cells("#address-cells", &[1]);
    blob.begin("cpu@0").cells("reg", &[0]);
    blob.begin("intc")
        .text("compatible", "riscv,cpu-intc")
        .cells("linux,phandle", &[6])
        .cells("#interrupt-cells", &[1])
        .end();
    blob.end().end();
    window(&mut blob, 0x1000, &[7]);
    let blob = blob.finish();
    assert_eq!(line(&interrupts(&blob)[0]), (Some(Phandle(5)), vec![7]));
    let plic = DeviceTree::parse(&blob).unwrap().plic().unwrap().unwrap();
    assert_eq!(plic.controller.phandle, Some(Phandle(5)));
    assert_eq!(plic.supervisor_context(0), Ok(Some(0)));
}

#[test]
fn a_controller_above_the_node_is_its_parent() {
    let mut blob = Blob::new();
    // The `interrupt-parent` of the root does not apply inside the controller.
    blob.cells("interrupt-parent", &[1]);
    blob.begin("other")
        .cells("phandle", &[1])
        .cells("#interrupt-cells", &[1])
        .end();
    blob.begin("plic@c000000")
        .text("compatible", "riscv,plic0")
        .flag("interrupt-controller")
        .flag("ranges")
        .cells("#interrupt-cells", &[1])
        .cells("riscv,ndev", &[31])
        .cells("interrupts-extended", &[])
        .cells("reg", &[0, 0xc00_0000, 0x1000]);
    window(&mut blob, 0x1000, &[7]);
    blob.begin("bus").flag("ranges");
    window(&mut blob, 0x2000, &[8]);
    blob.end().end();
    window(&mut blob, 0x3000, &[9]);
    let blob = blob.finish();
    let found = interrupts(&blob);
    let plic = DeviceTree::parse(&blob).unwrap().plic().unwrap().unwrap();
    assert_eq!(found[0].unwrap().unwrap().parent, plic.controller, "without a phandle");
    assert_eq!(line(&found[0]), (None, vec![7]));
    assert_eq!(found[1].unwrap().unwrap().parent, plic.controller);
    assert_eq!(line(&found[2]), (Some(Phandle(1)), vec![9]));
}

#[test]
fn two_controllers_without_phandle_are_not_the_same() {
    let mut blob = Blob::new();
    for base in [0x1000, 0x2000] {
        blob.begin(&format!("controller@{base:x}"))
            .flag("interrupt-controller")
            .flag("ranges")
            .cells("#interrupt-cells", &[1]);
        window(&mut blob, base, &[7]);
        blob.end();
    }
    let found = interrupts(&blob.finish());
    assert_ne!(found[0].unwrap().unwrap().parent, found[1].unwrap().unwrap().parent);
}

#[test]
fn an_interrupt_map_leads_to_the_controller() {
    let found = interrupts(&map_tree());
    // By address under the mask, by specifier, through two maps, and named outright.
    assert_eq!(line(&found[0]), (Some(Phandle(1)), vec![33, 4]));
    assert_eq!(line(&found[1]), (Some(Phandle(1)), vec![34, 4]));
    assert_eq!(line(&found[2]), (Some(Phandle(3)), vec![40]));
    assert_eq!(found[3], Err(NodeError::InterruptNotMapped));
    assert_eq!(line(&found[4]), (Some(Phandle(1)), vec![33, 4]));
}

/// A bus with a map of one row from its interrupt 1, and a window on it.
fn one_row(mask: Option<&[u32]>, row: &[u32]) -> Result<Option<Interrupt>, NodeError> {
    let mut blob = Blob::new();
    blob.begin("one")
        .cells("phandle", &[1])
        .flag("interrupt-controller")
        .cells("#interrupt-cells", &[1])
        .end();
    blob.begin("bus")
        .flag("ranges")
        .cells("phandle", &[2])
        .cells("#interrupt-cells", &[1])
        .cells("interrupt-map", row);
    if let Some(mask) = mask {
        blob.cells("interrupt-map-mask", mask);
    }
    window(&mut blob, 0x1000, &[1]);
    blob.end();
    interrupts(&blob.finish()).remove(0)
}

#[test]
fn a_broken_interrupt_map_is_an_error() {
    assert!(one_row(None, &[0, 0x1000, 1, 1, 9]).is_ok());
    assert!(one_row(Some(&[0, 0, 1]), &[5, 5, 1, 1, 9]).is_ok());
    let length = |name| Err(NodeError::BadLength(name));
    assert_eq!(
        one_row(Some(&[0, 0]), &[0, 0x1000, 1, 1, 9]),
        length("interrupt-map-mask")
    );
    assert_eq!(one_row(None, &[0, 0x1000, 1, 1]), length("interrupt-map"));
    assert_eq!(one_row(None, &[0, 0x1000]), length("interrupt-map"));
    assert_eq!(
        one_row(None, &[0, 0x1000, 1, 77, 9]),
        Err(NodeError::UnknownPhandle(77))
    );
    assert_eq!(one_row(None, &[0, 0x1000, 2, 1, 9]), Err(NodeError::InterruptNotMapped));
    assert_eq!(one_row(None, &[]), Err(NodeError::InterruptNotMapped));
    // The bus maps to itself; without `#address-cells` a parent has no address, so the second look finds none.
    assert!(one_row(Some(&[0, 0, 0]), &[0, 0, 0, 2, 1]).is_err());
}

#[test]
fn interrupt_maps_in_a_circle_end() {
    let mut blob = Blob::new();
    blob.begin("bus")
        .flag("ranges")
        .cells("phandle", &[2])
        .cells("#address-cells", &[2])
        .cells("#interrupt-cells", &[1])
        .cells("interrupt-map-mask", &[0, 0, 0])
        .cells("interrupt-map", &[0, 0, 0, 2, 0, 0, 1]);
    window(&mut blob, 0x1000, &[1]);
    blob.end();
    assert_eq!(interrupts(&blob.finish()), [Err(NodeError::InterruptLoop)]);
}

#[test]
fn a_map_with_more_parents_than_a_machine_has_is_refused() {
    let with = |parents: u32| {
        let mut blob = Blob::new();
        for parent in 1..=parents {
            blob.begin(&format!("controller@{parent}"))
                .cells("phandle", &[parent])
                .flag("interrupt-controller")
                .cells("#interrupt-cells", &[1])
                .end();
        }
        let row = |parent| [0, 0, if parent == parents { 1 } else { 2 }, parent, 9];
        let map: Vec<u32> = (1..=parents).flat_map(row).collect();
        blob.begin("bus")
            .flag("ranges")
            .cells("#interrupt-cells", &[1])
            .cells("interrupt-map-mask", &[0, 0, 3])
            .cells("interrupt-map", &map);
        window(&mut blob, 0x1000, &[1]);
        blob.end();
        interrupts(&blob.finish()).remove(0)
    };
    assert_eq!(line(&with(32)), (Some(Phandle(32)), vec![9]));
    assert_eq!(with(33), Err(NodeError::TooMany));
}
