//! The last things a run says.

use board_qemu_virt::println;
use guest_protocol::Record;

use super::report::record;
use super::selftest::Tally;

/// The summary, and the last record.
pub(crate) fn done(tally: Tally) {
    let Tally {
        passed,
        failed,
        skipped,
    } = tally;
    println!("self-test: {passed} passed, {failed} failed, {skipped} skipped");
    defmt::info!("self-test: {=u32} passed, {=u32} failed", passed, failed);
    record(Record::Done {
        passed: passed.into(),
        failed: failed.into(),
    });
}
