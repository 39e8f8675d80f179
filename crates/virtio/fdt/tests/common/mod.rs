//! A small writer of flattened device trees, which can write anything, also trees that no tool would write.
#![allow(dead_code, reason = "each test file uses its own part")]

/// Builds a blob token by token. Nothing is checked.
#[derive(Default)]
pub(crate) struct Blob {
    structure: Vec<u8>,
    strings: Vec<u8>,
    reservations: Vec<(u64, u64)>,
}

impl Blob {
    /// An empty tree: the root node is open.
    pub(crate) fn new() -> Self {
        let mut blob = Self::default();
        blob.begin("");
        blob
    }

    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn pad(&mut self) {
        while !self.structure.len().is_multiple_of(4) {
            self.structure.push(0);
        }
    }

    pub(crate) fn begin(&mut self, name: &str) -> &mut Self {
        self.word(1);
        self.structure.extend(name.as_bytes());
        self.structure.push(0);
        self.pad();
        self
    }

    pub(crate) fn end(&mut self) -> &mut Self {
        self.word(2);
        self
    }

    pub(crate) fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        let offset = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        self.word(3);
        self.word(value.len() as u32);
        self.word(offset);
        self.structure.extend(value);
        self.pad();
        self
    }

    pub(crate) fn cells(&mut self, name: &str, cells: &[u32]) -> &mut Self {
        let value: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.bytes(name, &value)
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.bytes(name, &value)
    }

    pub(crate) fn flag(&mut self, name: &str) -> &mut Self {
        self.bytes(name, &[])
    }

    pub(crate) fn reserve(&mut self, base: u64, size: u64) -> &mut Self {
        self.reservations.push((base, size));
        self
    }

    /// Closes the root node and puts the blocks together in the order that most tools use.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.finish_in([Part::Reservations, Part::Structure, Part::Strings])
    }

    /// Closes the root node and puts the blocks together in this order, each at an offset that is a multiple of eight.
    pub(crate) fn finish_in(&mut self, order: [Part; 3]) -> Vec<u8> {
        self.end();
        self.word(9);
        let mut reservations = Vec::new();
        for &(base, size) in self.reservations.iter().chain(&[(0, 0)]) {
            reservations.extend(u64::to_be_bytes(base));
            reservations.extend(u64::to_be_bytes(size));
        }
        let mut blob = vec![0; HEADER_BYTES];
        let mut offsets = [0; 3];
        for part in order {
            blob.resize(blob.len().next_multiple_of(8), 0);
            offsets[part as usize] = blob.len() as u32;
            blob.extend(match part {
                Part::Reservations => &reservations,
                Part::Structure => &self.structure,
                Part::Strings => &self.strings,
            });
        }
        let header = [
            0xd00d_feed,
            blob.len() as u32,
            offsets[Part::Structure as usize],
            offsets[Part::Strings as usize],
            offsets[Part::Reservations as usize],
            17,
            16,
            0,
            self.strings.len() as u32,
            self.structure.len() as u32,
        ];
        for (at, word) in (0..).step_by(4).zip(header) {
            blob[at..at + 4].copy_from_slice(&u32::to_be_bytes(word));
        }
        blob
    }
}

/// Bytes of the header.
const HEADER_BYTES: usize = 40;

/// The blocks of a blob after its header.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Reservations,
    Structure,
    Strings,
}

/// TinyEMU writes the structure first, then the reservations, then the strings.
pub(crate) const TINYEMU_ORDER: [Part; 3] = [Part::Structure, Part::Reservations, Part::Strings];

/// A tree as TinyEMU writes it: one hart, a PLIC, two windows with `interrupts-extended`, blocks in its own order.
pub(crate) fn tinyemu() -> Vec<u8> {
    let mut blob = Blob::new();
    blob.cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .text("compatible", "ucbbar,riscvemu-bar_dev")
        .text("model", "ucbbar,riscvemu-bare");
    blob.begin("cpus")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[0])
        .cells("timebase-frequency", &[10_000_000]);
    blob.begin("cpu@0")
        .text("device_type", "cpu")
        .cells("reg", &[0])
        .text("status", "okay");
    blob.begin("interrupt-controller")
        .cells("#interrupt-cells", &[1])
        .flag("interrupt-controller")
        .text("compatible", "riscv,cpu-intc")
        .cells("phandle", &[1])
        .end();
    blob.end().end();
    blob.begin("memory@80000000")
        .text("device_type", "memory")
        .cells("reg", &[0, 0x8000_0000, 0, 0x800_0000])
        .end();
    blob.begin("soc")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .bytes("compatible", b"ucbbar,riscvemu-bar-soc\0simple-bus\0")
        .flag("ranges");
    blob.begin("plic@40100000")
        .cells("#interrupt-cells", &[1])
        .flag("interrupt-controller")
        .text("compatible", "riscv,plic0")
        .cells("riscv,ndev", &[31])
        .cells("reg", &[0, 0x4010_0000, 0, 0x40_0000])
        .cells("interrupts-extended", &[1, 9, 1, 11])
        .cells("phandle", &[2])
        .end();
    for index in 0..2 {
        let base = 0x4001_0000 + index * 0x1000;
        blob.begin(&format!("virtio@{base:x}"))
            .text("compatible", "virtio,mmio")
            .cells("reg", &[0, base, 0, 0x1000])
            .cells("interrupts-extended", &[2, 1 + index])
            .end();
    }
    blob.end();
    blob.begin("chosen").text("bootargs", "console=hvc0").end();
    blob.finish_in(TINYEMU_ORDER)
}

/// Five windows behind buses with an `interrupt-map`. Controller 1 has two cells for an interrupt, controller 3 one.
pub(crate) fn map_tree() -> Vec<u8> {
    let mut blob = Blob::new();
    for (phandle, cells) in [(1, 2), (3, 1)] {
        blob.begin(&format!("controller@{phandle}"))
            .cells("phandle", &[phandle])
            .flag("interrupt-controller")
            .cells("#address-cells", &[0])
            .cells("#interrupt-cells", &[cells])
            .end();
    }
    blob.begin("outer")
        .flag("ranges")
        .cells("phandle", &[2])
        .cells("#address-cells", &[2])
        .cells("#interrupt-cells", &[1])
        .cells("interrupt-map-mask", &[0, 0xf000, 3])
        .cells(
            "interrupt-map",
            &[
                0, 0x1000, 1, 1, 33, 4, //
                0, 0x1000, 2, 1, 34, 4, //
                0, 0x2000, 1, 3, 40,
            ],
        );
    let window = |blob: &mut Blob, base: u32, interrupt: u32| {
        blob.begin(&format!("virtio@{base:x}"))
            .text("compatible", "virtio,mmio")
            .cells("reg", &[0, base, 0x200])
            .cells("interrupts", &[interrupt])
            .end();
    };
    window(&mut blob, 0x1200, 1);
    window(&mut blob, 0x1400, 2);
    // The inner bus translates interrupt 9 to interrupt 1 of address 0x2000 at the outer one. It has no mask.
    blob.begin("inner")
        .flag("ranges")
        .cells("#address-cells", &[2])
        .cells("#interrupt-cells", &[1])
        .cells("interrupt-map", &[0, 0x1600, 9, 2, 0, 0x2000, 1]);
    window(&mut blob, 0x1600, 9);
    window(&mut blob, 0x1800, 9);
    blob.end().end();
    blob.begin("virtio@1a00")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0, 0x1a00, 0x200])
        .cells("interrupts-extended", &[2, 1])
        .end();
    blob.finish()
}

/// The blob QEMU 10.0 writes for `-M virt -smp 4 -m 128M` with a command line.
pub(crate) const QEMU_VIRT: &[u8] = include_bytes!("../data/qemu-virt.dtb");

/// The same with one hart and no command line: small, for the tests that need many copies.
pub(crate) const ONE_HART: &[u8] = include_bytes!("../data/one-hart.dtb");

/// With two harts and `aia=aplic`: an APLIC that delivers directly.
pub(crate) const APLIC: &[u8] = include_bytes!("../data/aplic.dtb");

/// With two harts and `aia=aplic-imsic,aia-guests=3`: an APLIC that sends messages to an IMSIC with room for guests.
pub(crate) const IMSIC: &[u8] = include_bytes!("../data/imsic.dtb");

/// With two sockets of two harts and `aia=aplic-imsic`: two APLICs, and an IMSIC of two groups.
pub(crate) const IMSIC_NUMA: &[u8] = include_bytes!("../data/imsic-numa.dtb");

/// With two sockets of two harts: two PLICs.
pub(crate) const PLIC_NUMA: &[u8] = include_bytes!("../data/plic-numa.dtb");
