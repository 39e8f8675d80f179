//! The calls to the firmware.

/// Prints a byte.
#[expect(deprecated, reason = "the firmware that comes with older QEMU has no other console")]
pub(crate) fn put(byte: u8) {
    sbi_rt::legacy::console_putchar(byte.into());
}

/// Starts a hart at an address. The error is one of the SBI specification.
pub(crate) fn start_hart(hart: usize, address: usize) -> Result<(), usize> {
    match sbi_rt::hart_start(hart, address, 0).error {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Interrupts a hart.
pub(crate) fn interrupt(hart: usize) {
    // It fails for a hart that does not exist, which does not wait for it.
    let _ = sbi_rt::send_ipi(sbi_rt::HartMask::from_mask_base(1, hart));
}
