//! Trees that are well formed but shaped differently from QEMU's: other cell counts, buses that translate, both ways to
//! write interrupts, aliases, disabled nodes.

mod common;

use common::Blob;
use virtio_fdt::{DeviceTree, FdtError, MAX_DEPTH, NodeError, Phandle, PhysRange};

fn range(base_address: u64, size_bytes: u64) -> PhysRange {
    PhysRange::new(base_address, size_bytes).unwrap()
}

/// Two interrupt controllers: one with one cell per interrupt (phandle 1), one with two (phandle 2).
fn controllers(blob: &mut Blob) {
    blob.begin("one")
        .cells("phandle", &[1])
        .cells("#interrupt-cells", &[1])
        .end();
    blob.begin("two")
        .cells("phandle", &[2])
        .cells("#interrupt-cells", &[2])
        .end();
}

#[test]
fn the_parent_defines_the_cells_of_an_address() {
    let mut blob = Blob::new();
    blob.cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    blob.begin("a@1000")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0x1000, 0x200])
        .end();
    blob.begin("bus")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .flag("ranges");
    blob.begin("b@0")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[1, 0x2000, 0, 0x300])
        .end();
    blob.end();
    // No cell counts: the defaults are two and one.
    blob.begin("other").flag("ranges");
    blob.begin("c@0")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0, 0x3000, 0x400])
        .end();
    blob.end();
    let blob = blob.finish();
    let windows: Vec<_> = DeviceTree::parse(&blob)
        .unwrap()
        .virtio_mmio()
        .map(|w| w.unwrap().registers)
        .collect();
    assert_eq!(
        windows,
        [range(0x1000, 0x200), range(0x1_0000_2000, 0x300), range(0x3000, 0x400)]
    );
}

#[test]
fn a_bus_translates_addresses() {
    let mut blob = Blob::new();
    blob.cells("#address-cells", &[2]).cells("#size-cells", &[2]);
    blob.begin("outer")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[1]);
    // Two entries of (child address, parent address in two cells, size).
    blob.cells("ranges", &[0, 9, 0, 0x10, 0x4000, 1, 0x8000_0000, 0x1000]);
    blob.begin("inner")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[1]);
    blob.cells("ranges", &[0x100, 0x4000, 0x1000]);
    for (name, base, size) in [
        ("first@180", 0x180, 0x80),
        ("below@80", 0x80, 0x80),
        ("last@1080", 0x1080, 0x80),
    ] {
        blob.begin(name)
            .text("compatible", "virtio,mmio")
            .cells("reg", &[base, size])
            .end();
    }
    blob.begin("over@1080")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0x1080, 0x81])
        .end();
    blob.end().end();
    // The addresses on a bus without `ranges` are not those of the CPU.
    blob.begin("closed")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[1]);
    blob.begin("d@0")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0, 0x80])
        .end();
    blob.end();
    let blob = blob.finish();
    let tree = DeviceTree::parse(&blob).unwrap();
    let windows: Vec<_> = tree
        .virtio_mmio()
        .map(|w| w.map(|w| w.registers).map_err(|w| w.reason))
        .collect();
    assert_eq!(
        windows,
        [
            Ok(range(0x1_8000_0080, 0x80)),
            Err(NodeError::NotMapped),
            Ok(range(0x1_8000_0f80, 0x80)),
            Err(NodeError::NotMapped),
            Err(NodeError::NotMapped),
        ]
    );
}

#[test]
fn interrupts_are_inherited_extended_or_absent() {
    let mut blob = Blob::new();
    blob.cells("interrupt-parent", &[1]);
    controllers(&mut blob);
    let window = |blob: &mut Blob, name: &str| {
        blob.begin(name)
            .text("compatible", "virtio,mmio")
            .cells("reg", &[0, 0x1000, 0x200]);
    };
    window(&mut blob, "inherited@0");
    blob.cells("interrupts", &[7, 8]).end();
    window(&mut blob, "own@0");
    blob.cells("interrupts", &[9, 4]).cells("interrupt-parent", &[2]).end();
    window(&mut blob, "extended@0");
    blob.cells("interrupts", &[1])
        .cells("interrupts-extended", &[2, 33, 4, 1, 5])
        .end();
    window(&mut blob, "none@0");
    blob.end();
    window(&mut blob, "unknown@0");
    blob.cells("interrupts-extended", &[77, 33]).end();
    window(&mut blob, "short@0");
    blob.cells("interrupts-extended", &[2, 33]).end();
    window(&mut blob, "empty@0");
    blob.cells("interrupts", &[]).end();
    let blob = blob.finish();
    let tree = DeviceTree::parse(&blob).unwrap();
    let seen: Vec<_> = tree
        .virtio_mmio()
        .map(|window| {
            let interrupt = window.map_err(|window| window.reason)?.interrupt;
            Ok(interrupt.map(|interrupt| {
                (
                    interrupt.parent.phandle.unwrap(),
                    interrupt.number(),
                    interrupt.specifier().to_vec(),
                )
            }))
        })
        .collect();
    assert_eq!(
        seen,
        [
            Ok(Some((Phandle(1), 7, vec![7]))),
            Ok(Some((Phandle(2), 9, vec![9, 4]))),
            Ok(Some((Phandle(2), 33, vec![33, 4]))),
            Ok(None),
            Err(NodeError::UnknownPhandle(77)),
            Err(NodeError::BadLength("interrupts-extended")),
            Err(NodeError::BadLength("interrupts")),
        ]
    );
}

#[test]
fn an_interrupt_without_any_parent_is_an_error() {
    let mut blob = Blob::new();
    blob.begin("a@0")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0, 0, 1])
        .cells("interrupts", &[1])
        .end();
    let blob = blob.finish();
    let tree = DeviceTree::parse(&blob).unwrap();
    let window = tree.virtio_mmio().next().unwrap().unwrap_err();
    assert_eq!((window.node, window.reason), ("a@0", NodeError::NoInterruptParent));
}

#[test]
fn disabled_nodes_and_nodes_below_them_are_skipped() {
    let mut blob = Blob::new();
    for (name, status) in [
        ("a@1", Some("okay")),
        ("b@2", Some("disabled")),
        ("c@3", Some("fail")),
        ("d@4", None),
    ] {
        let base = name.bytes().last().unwrap() - b'0';
        blob.begin(name)
            .text("compatible", "virtio,mmio")
            .cells("reg", &[0, base.into(), 1]);
        if let Some(status) = status {
            blob.text("status", status);
        }
        blob.end();
    }
    blob.begin("bus").flag("ranges").text("status", "disabled");
    blob.begin("e@5")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0, 5, 1])
        .end();
    blob.end();
    let blob = blob.finish();
    let tree = DeviceTree::parse(&blob).unwrap();
    let bases: Vec<_> = tree.virtio_mmio().map(|w| w.unwrap().registers.base_address).collect();
    assert_eq!(bases, [1, 4]);
}

#[test]
fn windows_are_sorted_and_unusable_ones_are_separate() {
    let mut blob = Blob::new();
    for (name, base) in [("a@9", 9), ("b@3", 3), ("c@5", 5)] {
        blob.begin(name)
            .text("compatible", "virtio,mmio")
            .cells("reg", &[0, base, 1])
            .end();
    }
    blob.begin("d").text("compatible", "virtio,mmio").end();
    let blob = blob.finish();
    let tree = DeviceTree::parse(&blob).unwrap();
    let sorted = tree.virtio_mmio_sorted::<3>().unwrap();
    assert_eq!(
        sorted
            .usable
            .iter()
            .map(|w| w.registers.base_address)
            .collect::<Vec<_>>(),
        [3, 5, 9]
    );
    assert_eq!(tree.virtio_mmio_sorted::<2>(), Err(NodeError::TooMany));
    let [window] = sorted.unusable.as_slice() else {
        panic!("{sorted:?}");
    };
    assert_eq!((window.node, window.reason), ("d", NodeError::MissingProperty("reg")));
    assert_eq!(
        window.to_string(),
        "window `d` cannot be used: property `reg` is missing"
    );
}

#[test]
fn an_address_may_not_run_past_64_bits() {
    let mut blob = Blob::new();
    blob.cells("#address-cells", &[3]).cells("#size-cells", &[2]);
    blob.begin("a")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[1, 0, 0, 0, 1])
        .end();
    blob.begin("b")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0, u32::MAX, u32::MAX, 0, 1])
        .end();
    blob.begin("c")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0, u32::MAX, 0, 0, 1])
        .end();
    let blob = blob.finish();
    let windows: Vec<_> = DeviceTree::parse(&blob)
        .unwrap()
        .virtio_mmio()
        .map(|w| w.map(|w| w.registers).map_err(|w| w.reason))
        .collect();
    assert_eq!(
        windows,
        [
            Err(NodeError::AddressTooWide),
            Err(NodeError::AddressTooWide),
            Ok(range(0xffff_ffff_0000_0000, 1))
        ]
    );
}

fn console_tree(stdout: Option<&str>) -> Vec<u8> {
    let mut blob = Blob::new();
    blob.cells("interrupt-parent", &[1]);
    controllers(&mut blob);
    blob.begin("chosen");
    if let Some(stdout) = stdout {
        blob.text("stdout-path", stdout);
    }
    blob.end();
    blob.begin("aliases")
        .text("serial7", "/soc/serial@200")
        .text("odd", "/soc/other@300")
        .end();
    blob.begin("soc").flag("ranges");
    blob.begin("serial@100")
        .text("compatible", "ns16550a")
        .cells("reg", &[0, 0x100, 8])
        .end();
    blob.begin("serial@200")
        .bytes("compatible", b"maker,uart\0ns16550a\0")
        .cells("reg", &[0, 0x200, 0x20]);
    blob.cells("reg-shift", &[2])
        .cells("reg-io-width", &[4])
        .cells("clock-frequency", &[3_686_400]);
    blob.cells("interrupts", &[10]).end();
    blob.begin("other@300")
        .text("compatible", "arm,pl011")
        .cells("reg", &[0, 0x300, 8])
        .end();
    blob.end();
    blob.finish()
}

#[test]
fn the_console_is_the_chosen_one_else_the_first() {
    for (stdout, base) in [
        (Some("/soc/serial@200"), 0x200),
        (Some("/soc/serial@200:115200n8"), 0x200),
        (Some("serial7"), 0x200),
        (Some("serial7:115200"), 0x200),
        (Some("/soc/serial"), 0x100),
        (Some("odd"), 0x100),
        (Some("serial8"), 0x100),
        (Some("/nowhere"), 0x100),
        (Some(""), 0x100),
        (None, 0x100),
    ] {
        let blob = console_tree(stdout);
        let uart = DeviceTree::parse(&blob).unwrap().console().unwrap().unwrap();
        assert_eq!(uart.registers.base_address, base, "{stdout:?}");
    }
}

#[test]
fn register_shift_and_width_of_the_console_are_read() {
    let blob = console_tree(Some("serial7"));
    let uart = DeviceTree::parse(&blob).unwrap().console().unwrap().unwrap();
    assert_eq!(uart.registers, range(0x200, 0x20));
    assert_eq!((uart.register_shift, uart.access_bytes), (2, 4));
    assert_eq!(uart.clock_hz, Some(3_686_400));
    assert_eq!(uart.interrupt.unwrap().number(), 10);
    let blob = console_tree(None);
    let uart = DeviceTree::parse(&blob).unwrap().console().unwrap().unwrap();
    assert_eq!(
        (uart.register_shift, uart.access_bytes, uart.clock_hz, uart.interrupt),
        (0, 1, None, None)
    );
}

/// Four harts; hart 2 is disabled; firmware blanked the machine-mode entries; hart 3 has no S-mode entry.
fn plic_tree(interrupts_extended: &[u32]) -> Vec<u8> {
    let mut blob = Blob::new();
    blob.begin("cpus")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[0])
        .cells("timebase-frequency", &[5_000]);
    for hart in 0..4 {
        blob.begin(&format!("cpu@{hart}"))
            .text("device_type", "cpu")
            .cells("reg", &[hart]);
        if hart == 2 {
            blob.text("status", "disabled");
        }
        blob.begin("interrupt-controller")
            .text("compatible", "riscv,cpu-intc")
            .cells("#interrupt-cells", &[1]);
        blob.cells("phandle", &[100 + hart]).end();
        blob.end();
    }
    blob.begin("cpu-map").end();
    blob.end();
    blob.begin("plic@c000000")
        .text("compatible", "sifive,plic-1.0.0")
        .cells("reg", &[0, 0xc00_0000, 0x60_0000]);
    blob.cells("phandle", &[3])
        .cells("riscv,ndev", &[95])
        .cells("interrupts-extended", interrupts_extended);
    blob.end();
    blob.finish()
}

#[test]
fn the_context_of_a_hart_is_its_place_in_the_list() {
    let blank = u32::MAX;
    let blob = plic_tree(&[103, blank, 100, blank, 100, 9, 101, blank, 101, 9, 102, 9]);
    let tree = DeviceTree::parse(&blob).unwrap();
    assert_eq!(tree.hart_count(), 3);
    assert_eq!(tree.timebase_hz(), Ok(5_000));
    let plic = tree.plic().unwrap().unwrap();
    assert_eq!(plic.registers, range(0xc00_0000, 0x60_0000));
    assert_eq!((plic.source_count, plic.controller.phandle), (95, Some(Phandle(3))));
    assert_eq!(plic.supervisor_context(0), Ok(Some(2)));
    assert_eq!(plic.supervisor_context(1), Ok(Some(4)));
    assert_eq!(plic.supervisor_context(2), Ok(None), "disabled");
    assert_eq!(plic.supervisor_context(3), Ok(None), "no S-mode entry");
    assert_eq!(plic.supervisor_context(4), Ok(None), "no such hart");
}

#[test]
fn a_broken_context_list_is_an_error() {
    let blob = plic_tree(&[100, 11, 55, 9, 101, 9]);
    let tree = DeviceTree::parse(&blob).unwrap();
    let plic = tree.plic().unwrap().unwrap();
    assert_eq!(plic.supervisor_context(1), Err(NodeError::UnknownPhandle(55)));
    let blob = plic_tree(&[100, 11, 101]);
    let tree = DeviceTree::parse(&blob).unwrap();
    let plic = tree.plic().unwrap().unwrap();
    assert_eq!(
        plic.supervisor_context(1),
        Err(NodeError::BadLength("interrupts-extended"))
    );
}

#[test]
fn memory_and_reservations_are_listed() {
    let mut blob = Blob::new();
    blob.cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .reserve(0x8000_0000, 0x1000);
    blob.begin("memory@80000000").text("device_type", "memory");
    blob.cells("reg", &[0, 0x8000_0000, 0, 0x800_0000, 1, 0, 0, 0, 2, 0, 1, 0])
        .end();
    blob.begin("memory@300000000")
        .text("device_type", "memory")
        .cells("reg", &[3, 0, 0, 0x1000])
        .end();
    blob.begin("reserved-memory")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .flag("ranges");
    blob.begin("firmware@80000000")
        .cells("reg", &[0, 0x8000_0000, 0, 0x4_0000])
        .flag("no-map")
        .end();
    blob.begin("anywhere").cells("size", &[0, 0x1000]).end();
    blob.end();
    let blob = blob.finish();
    let tree = DeviceTree::parse(&blob).unwrap();
    assert_eq!(
        tree.memory::<4>().unwrap(),
        [
            range(0x8000_0000, 0x800_0000),
            range(0x2_0000_0000, 0x1_0000_0000),
            range(0x3_0000_0000, 0x1000)
        ]
    );
    assert_eq!(tree.memory::<2>(), Err(NodeError::TooMany));
    assert_eq!(
        tree.reserved_memory::<4>().unwrap(),
        [range(0x8000_0000, 0x1000), range(0x8000_0000, 0x4_0000)]
    );
}

#[test]
fn the_time_base_may_stand_at_a_cpu_and_may_not_be_zero() {
    let tree = |own: Option<&[u32]>, cpu: &[u32]| {
        let mut blob = Blob::new();
        blob.begin("cpus");
        if let Some(own) = own {
            blob.cells("timebase-frequency", own);
        }
        blob.begin("cpu@0")
            .end()
            .begin("cpu@1")
            .cells("timebase-frequency", cpu)
            .end();
        blob.end();
        DeviceTree::parse(&blob.finish()).unwrap().timebase_hz()
    };
    assert_eq!(tree(Some(&[7]), &[8]), Ok(7));
    assert_eq!(tree(None, &[8]), Ok(8));
    assert_eq!(tree(None, &[1, 8]), Ok(0x1_0000_0008));
    assert_eq!(tree(Some(&[0]), &[8]), Err(NodeError::BadValue("timebase-frequency")));
    assert_eq!(tree(Some(&[]), &[8]), Err(NodeError::BadLength("timebase-frequency")));
    let empty = Blob::new().finish();
    assert_eq!(
        DeviceTree::parse(&empty).unwrap().timebase_hz(),
        Err(NodeError::MissingNode("/cpus"))
    );
}

#[test]
fn an_empty_tree_has_no_devices() {
    let blob = Blob::new().finish();
    let tree = DeviceTree::parse(&blob).unwrap();
    assert_eq!(tree.virtio_mmio().count(), 0);
    assert!(tree.memory::<1>().unwrap().is_empty());
    assert!(tree.reserved_memory::<1>().unwrap().is_empty());
    assert_eq!(tree.hart_count(), 0);
    assert!(tree.plic().unwrap().is_none());
    assert_eq!(tree.console(), Ok(None));
    assert_eq!(tree.boot_args(), Ok(None));
    assert_eq!(tree.finisher(), Ok(None));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut blob = Blob::new();
        for _ in 1..depth {
            blob.begin("n");
        }
        for _ in 1..depth {
            blob.end();
        }
        DeviceTree::parse(&blob.finish()).map(|_| ())
    };
    assert_eq!(nested(MAX_DEPTH), Ok(()));
    assert_eq!(nested(MAX_DEPTH + 1), Err(FdtError::TooDeep));
    assert_eq!(nested(20_000), Err(FdtError::TooDeep));
}

/// The initial RAM disk of a tree with these two properties, as cells.
fn initrd(start: Option<&[u32]>, end: Option<&[u32]>) -> Result<Option<PhysRange>, NodeError> {
    let mut blob = Blob::new();
    blob.begin("chosen");
    start.map(|cells| blob.cells("linux,initrd-start", cells));
    end.map(|cells| blob.cells("linux,initrd-end", cells));
    blob.end();
    let blob = blob.finish();
    DeviceTree::parse(&blob).unwrap().initrd()
}

#[test]
fn an_initial_ram_disk_is_named_by_its_two_ends() {
    let narrow = initrd(Some(&[0x8800_0000]), Some(&[0x8800_1000]));
    assert_eq!(narrow, Ok(Some(range(0x8800_0000, 0x1000))));
    let wide = initrd(Some(&[1, 0x8000_0000]), Some(&[1, 0x8000_0200]));
    assert_eq!(wide, Ok(Some(range(0x1_8000_0000, 0x200))));
    assert_eq!(initrd(None, None), Ok(None));
    assert_eq!(initrd(Some(&[0x1000]), Some(&[0x1000])), Ok(None));
}

#[test]
fn half_an_initial_ram_disk_is_an_error() {
    let (start, end) = ("linux,initrd-start", "linux,initrd-end");
    assert_eq!(initrd(Some(&[0]), None), Err(NodeError::MissingProperty(end)));
    assert_eq!(initrd(None, Some(&[0])), Err(NodeError::MissingProperty(start)));
    assert_eq!(initrd(Some(&[2]), Some(&[1])), Err(NodeError::BadValue(end)));
    assert_eq!(initrd(Some(&[0, 0, 2]), Some(&[3])), Err(NodeError::BadLength(start)));
}
