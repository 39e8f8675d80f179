//! The main function on the machine: start-up with RS around everything else.

use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use minix_blockdriver::log_line;

use log::LevelFilter;
use minix_abi::Errno;
use minix_rt::logger::Logger;
use minix_rt::sef::Startup;
use minix_rt::{Args, Fixed, Minix, clock, kernel, println};
use minix_virtio_blk::args::{self, Arguments};
use minix_virtio_blk::registration::{GrantTable, Registration};
use minix_virtio_blk::serve;
use minix_virtio_blk::start::{self, MmioService, Tables};
use minix_virtio_blk::windows::Registers;
use virtio_mmio::MmioWindow;

static TABLES: Fixed<Tables<Minix>> = Fixed::new(Tables::new());
static GRANTS: Fixed<GrantTable> = Fixed::new(GrantTable::new());
static LOGGER: Logger = Logger::new(print_line, clock::now);

fn print_line(text: fmt::Arguments<'_>) {
    println!("virtio-blk-mmio: {text}");
}

pub(crate) fn main(args: Args) -> ! {
    minix_rt::on_panic(stop_device);
    let mut minix = Minix::new();
    let arguments = args::parse(args);
    // Words that make no sense are told at every level.
    LOGGER.install(arguments.as_ref().map_or(LevelFilter::Error, |arguments| arguments.log));
    // SAFETY: the machine is the one with these windows, the system's configuration gives each device to one service, and
    // this one drives none yet.
    let startup = unsafe { start::wait_for_rs::<MmioWindow>(&mut minix, arguments.as_ref().ok()) };
    let arguments = arguments.map_err(|error| {
        log_line!(Error, "{error}");
        Errno::EINVAL
    });
    match arguments.and_then(|arguments| bring_up(minix, &arguments, &startup)) {
        Ok(service) => {
            if let Err(errno) = startup.finish(&mut minix, Ok(())) {
                log_line!(Error, "RS did not wait for the start: {errno}");
                serve::leave(service);
            }
            service.run();
            serve::leave(service)
        }
        Err(errno) => {
            // RS ends the process instead of answering.
            let _ = startup.finish(&mut minix, Err(errno));
            kernel::exit(&mut minix)
        }
    }
}

/// Everything that RS waits for.
fn bring_up(
    mut minix: Minix,
    arguments: &Arguments,
    startup: &Startup,
) -> Result<&'static mut MmioService<Minix>, Errno> {
    // They are taken here alone.
    let tables = TABLES.take().ok_or(Errno::EGENERIC)?;
    let grants = GRANTS.take().ok_or(Errno::EGENERIC)?;
    let mut registration = Registration::new(&mut minix, grants, startup.who.endpoint).inspect_err(|errno| {
        log_line!(Error, "the kernel does not take a table of grants: {errno}");
    })?;
    // SAFETY: as above. The tables can be had once, so this is done once.
    let service = unsafe {
        start::bring_up(
            minix,
            arguments,
            &mut registration,
            clock::now,
            &LOGGER,
            tables,
            remember_device,
        )
    }?;
    if let Err(errno) = registration.announce(&mut minix) {
        log_line!(Error, "the data store does not take the announcement: {errno}");
        serve::stop(service);
        return Err(errno);
    }
    Ok(service)
}

/// Byte offset of the device status; writing zero resets the device.
const STATUS_OFFSET: usize = 0x070;

/// The device status register, for a panic; null as long as there is no device.
static STATUS: AtomicPtr<u32> = AtomicPtr::new(ptr::null_mut());

fn remember_device(registers: Registers) {
    let status = registers.as_ptr().as_ptr().wrapping_byte_add(STATUS_OFFSET).cast();
    STATUS.store(status, Ordering::Release);
}

/// The last act of a panic: a reset, not waited for. The device must not go on writing to memory that is given to others.
fn stop_device() {
    let status = STATUS.load(Ordering::Acquire);
    if !status.is_null() {
        // SAFETY: only `remember_device` puts an address there: that of a register of the device that this service drives, mapped
        // for good, as `Registers` says. A device that is reset uses no memory.
        unsafe { status.write_volatile(0) };
    }
}
