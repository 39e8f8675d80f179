//! A small writer of flattened device trees, so that tests can say anything, also what no honest tool would write.
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

    /// Closes the root node and puts the parts together.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.end();
        self.word(9);
        let mut reservations = Vec::new();
        for &(base, size) in self.reservations.iter().chain(&[(0, 0)]) {
            reservations.extend(base.to_be_bytes());
            reservations.extend(size.to_be_bytes());
        }
        let structure_at = 40 + reservations.len();
        let strings_at = structure_at + self.structure.len();
        let total = strings_at + self.strings.len();
        let header = [
            0xd00d_feed,
            total as u32,
            structure_at as u32,
            strings_at as u32,
            40,
            17,
            16,
            0,
            self.strings.len() as u32,
            self.structure.len() as u32,
        ];
        let mut blob: Vec<u8> = header.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
        blob.extend(reservations);
        blob.extend(&self.structure);
        blob.extend(&self.strings);
        blob
    }
}

/// The blob QEMU 10.0 writes for `-M virt -smp 4 -m 128M` with a command line.
pub(crate) const QEMU_VIRT: &[u8] = include_bytes!("../data/qemu-virt.dtb");

/// The same with one hart and no command line: small, for the tests that need many copies.
pub(crate) const ONE_HART: &[u8] = include_bytes!("../data/one-hart.dtb");

/// Asks a tree everything. What comes out is of no interest; that it comes out at all is.
pub(crate) fn ask_everything(blob: &[u8]) -> bool {
    use virtio_fdt::DeviceTree;
    let _ = DeviceTree::total_size(blob);
    let Ok(tree) = DeviceTree::parse(blob) else {
        return false;
    };
    let mut answers = 0;
    answers += tree.virtio_mmio_sorted::<8>().map_or(0, |windows| windows.len());
    answers += tree.memory::<4>().map_or(0, |ranges| ranges.len());
    answers += tree.reserved_memory::<4>().map_or(0, |ranges| ranges.len());
    answers += tree.hart_count();
    answers += usize::from(tree.timebase_hz().is_ok());
    answers += usize::from(matches!(tree.console(), Ok(Some(_))));
    answers += tree.boot_args().ok().flatten().map_or(0, str::len);
    answers += usize::from(matches!(tree.finisher(), Ok(Some(_))));
    if let Ok(Some(plic)) = tree.plic() {
        answers += usize::from(matches!(plic.supervisor_context(0), Ok(Some(_))));
    }
    std::hint::black_box(answers);
    true
}
