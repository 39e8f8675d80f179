//! Instructions whose number is known, for the host to see that the kernel counts them.

use core::arch::asm;

use guest_protocol::CALIBRATION;
use minix_abi::{Endpoint, Errno};
use minix_rt::{Minix, kernel};

use crate::client::Client;

/// Has the kernel measure this process twice: with no traps in between, and with [`CALIBRATION`] of them.
pub(super) fn calibrate(client: &mut Client<Minix>) -> Result<(), Errno> {
    let own = kernel::who_am_i(&mut client.ipc)?.endpoint;
    for (name, traps) in CALIBRATION.names.into_iter().zip([0, CALIBRATION.traps]) {
        measure(client, own, name, traps);
    }
    Ok(())
}

/// One measurement. But for the traps, both execute the same instructions.
#[inline(never)]
fn measure(client: &mut Client<Minix>, own: Endpoint, name: &str, traps: u64) {
    client.mark(own, "");
    trap(traps);
    client.mark(own, name);
}

/// Traps so many times, by a call that does not exist, with [`CALIBRATION`]'s instructions for each.
#[inline(never)]
fn trap(times: u64) {
    // SAFETY: the kernel answers a call that it does not know with a status in a0, and does nothing else.
    unsafe {
        asm!(
            "beqz {times}, 3f",
            "2:",
            "ecall",
            "addi {times}, {times}, -1",
            "bnez {times}, 2b",
            "3:",
            times = inout(reg) times => _,
            in("a7") 0,
            lateout("a0") _,
            options(nostack),
        );
    }
}
