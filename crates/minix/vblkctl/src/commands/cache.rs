//! `flush`, `cache` and `timeout`: the control requests that MINIX has for every disk.

use minix_abi::Errno;
use minix_abi::disk_control::DiskReport;
use minix_abi::ioctl::IoctlCode;
use minix_abi::kernel_call::DEFAULT_HZ;

use crate::calls::Calls;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::output::print;

pub(super) fn flush<C: Calls>(calls: &mut C, device: &str) -> Result<(), Failure> {
    let mut disk = Disk::open(calls, device)?;
    match disk.ask(IoctlCode::DIOCFLUSH) {
        Ok(_) => Ok(()),
        Err(Errno::EOPNOTSUPP) => Err(Failure::NoFlush),
        Err(errno) => Err(disk.unless_unknown(errno, "flush")),
    }
}

/// Tells the write cache after it was switched, if it was to be.
pub(super) fn run<C: Calls>(calls: &mut C, device: &str, switch: Option<bool>) -> Result<(), Failure> {
    let mut disk = Disk::open(calls, device)?;
    if let Some(on) = switch {
        let mut on = i32::from(on);
        match disk.exchange(IoctlCode::DIOCSETWC, &mut on) {
            Ok(_) => {}
            Err(Errno::EOPNOTSUPP) => return Err(Failure::NoCacheSwitch),
            Err(errno) => return Err(disk.unless_unknown(errno, "switch the write cache")),
        }
    }
    let on: i32 = disk
        .tell(IoctlCode::DIOCGETWC)
        .map_err(|errno| disk.unless_unknown(errno, "ask for the write cache"))?;
    drop(disk);
    let state = if on == 0 { "off" } else { "on" };
    print(calls, format_args!("write cache {state}\n"))
}

/// The request counts in ticks of the clock; what came of it is told by the service.
pub(super) fn set_timeout<C: Calls>(calls: &mut C, device: &str, millis: u32) -> Result<(), Failure> {
    let mut disk = Disk::open(calls, device)?;
    let before: DiskReport = disk.report()?;
    let ticks = (u64::from(millis) * u64::from(DEFAULT_HZ)).div_ceil(1000);
    let mut ticks = i32::try_from(ticks).unwrap_or(i32::MAX);
    if let Err(errno) = disk.exchange(IoctlCode::DIOCTIMEOUT, &mut ticks) {
        return Err(disk.unless_unknown(errno, "set the time-out"));
    }
    let after: DiskReport = disk.report()?;
    drop(disk);
    let (after, before) = (u64::from(after.disk.timeout_ms), u64::from(before.disk.timeout_ms));
    print(calls, format_args!("time-out {after} ms, before {before} ms\n"))
}
