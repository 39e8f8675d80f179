//! `regs`: registers of the device, one a line.

use core::fmt;

use minix_abi::disk_control::RegisterReport;

use crate::calls::Calls;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::output::{print, text};

pub(super) fn run<C: Calls>(calls: &mut C, device: &str) -> Result<(), Failure> {
    let report: RegisterReport = Disk::open(calls, device)?.report()?;
    print(calls, format_args!("{}", text(|out| write(out, &report))))
}

fn write(out: &mut dyn fmt::Write, report: &RegisterReport) -> fmt::Result {
    writeln!(out, "{:<20} {:#x}", "registers at", report.address)?;
    if report.count == 0 {
        return writeln!(out, "the device does not work, and has no registers to show");
    }
    for register in report.registers.iter().take(report.count as usize) {
        writeln!(out, "{:<20} {:#x}", register.name(), register.value)?;
    }
    Ok(())
}
