//! No test on a host sees a fence that is missing: its count stands for it.

use virtio_core::fence;
use virtio_core::fence::counts::Fence;

#[test]
fn each_fence_counts_itself_and_no_other() {
    let passed = || Fence::ALL.map(Fence::passed);
    let fences = [
        fence::before_doorbell,
        fence::after_interrupt_status,
        fence::store_then_load,
        fence::registers_and_memory,
    ];
    for (nth, pass) in fences.into_iter().enumerate() {
        let mut counts = passed();
        counts[nth] += 1;
        pass();
        assert_eq!(passed(), counts, "fence {nth}");
    }
}
