//! A device tree of any bytes: every question gets an answer.

use virtio_fdt::DeviceTree;

/// Asks a tree of arbitrary bytes everything. It panics if a question does.
pub fn device_tree(input: &[u8]) {
    ask_everything(input);
}

/// Calls every method of a tree. The answers do not matter; each call must return. The answer says whether it is a tree.
pub fn ask_everything(blob: &[u8]) -> bool {
    let _ = DeviceTree::total_size(blob);
    let Ok(tree) = DeviceTree::parse(blob) else {
        return false;
    };
    let mut answers = 0;
    answers += tree
        .virtio_mmio_sorted::<8>()
        .map_or(0, |windows| windows.usable.len() + windows.unusable.len());
    answers += tree.memory::<4>().map_or(0, |ranges| ranges.len());
    answers += tree.reserved_memory::<4>().map_or(0, |ranges| ranges.len());
    answers += tree.hart_count();
    answers += usize::from(tree.timebase_hz().is_ok());
    answers += usize::from(matches!(tree.console(), Ok(Some(_))));
    answers += tree.boot_args().ok().flatten().map_or(0, str::len);
    answers += usize::from(matches!(tree.finisher(), Ok(Some(_))));
    answers += tree.plics().count();
    if let Ok(Some(plic)) = tree.plic() {
        answers += usize::from(matches!(plic.supervisor_context(0), Ok(Some(_))));
    }
    for aplic in tree.aplics().flatten() {
        answers += usize::from(matches!(aplic.supervisor_delivery(0), Ok(Some(_))));
    }
    for imsic in tree.imsics().flatten() {
        answers += usize::from(matches!(imsic.supervisor_file(0), Ok(Some(_))));
    }
    for host in tree.pci_hosts().flatten() {
        answers += host.windows.len() + usize::from(matches!(host.interrupt(3, 1, 2), Ok(Some(_))));
    }
    std::hint::black_box(answers);
    true
}
