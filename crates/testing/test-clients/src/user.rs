//! The program `user`: not a service, but a program of a shell, which checks what PM, VFS and the kernel answer to one.
//!
//! Its words are the block special file to use and the exit status to end with if all is well.

use core::fmt::{self, Display, Write};
use core::time::Duration;

use minix_abi::ioctl::IoctlCode;
use minix_abi::vfs::{Descriptor, OpenMode};
use minix_abi::{Endpoint, Errno, Message, MessageType};
use minix_rt::program::{close, control, is_terminal, open, read, sleep, write_all};
use minix_rt::{Args, Ipc, kernel};

/// Exit status if a check has failed.
const FAILED: u8 = 1;
/// The longest name of a file.
const NAME_BYTES: usize = 32;
/// What a person types.
pub const TYPED: &str = "yes";

struct Checks<'i, I: Ipc> {
    ipc: &'i mut I,
    failed: u32,
}

impl<I: Ipc> Checks<'_, I> {
    fn expect<T: PartialEq + fmt::Debug>(&mut self, name: &str, got: T, wanted: T) {
        if got == wanted {
            return say(self.ipc, Descriptor::STDOUT, &format_args!("{name}: ok"));
        }
        self.failed += 1;
        say(
            self.ipc,
            Descriptor::STDERR,
            &format_args!("{name}: {got:?}, wanted {wanted:?}"),
        );
    }
}

fn say(ipc: &mut impl Ipc, to: Descriptor, text: &dyn Display) {
    let mut line = heapless::String::<160>::new();
    // What does not fit is cut.
    let _ = writeln!(line, "{text}");
    // There is nothing to do about an output that takes nothing. The host misses the text.
    let _ = write_all(ipc, to, line.as_bytes());
}

/// Makes the checks. Gives the exit status.
pub fn main(ipc: &mut impl Ipc, mut args: Args) -> u8 {
    let (device, status) = (args.next(), args.next());
    let (Some(device), Some(status)) = (device, status.and_then(|status| status.parse().ok())) else {
        say(ipc, Descriptor::STDERR, &"usage: user FILE STATUS");
        return FAILED;
    };
    let mut name = heapless::CString::<NAME_BYTES>::new();
    if name.extend_from_bytes(device.as_bytes()).is_err() {
        say(ipc, Descriptor::STDERR, &"the name is too long");
        return FAILED;
    }
    let mut checks = Checks { ipc, failed: 0 };
    files(&mut checks, &name);
    terminal(&mut checks);
    privileges(&mut checks);
    let slept = sleep(checks.ipc, Duration::from_millis(20));
    checks.expect("sleep", slept, Ok(()));
    if checks.failed == 0 { status } else { FAILED }
}

fn files<I: Ipc>(checks: &mut Checks<'_, I>, name: &core::ffi::CStr) {
    let mode = OpenMode::O_RDONLY;
    let none = open(checks.ipc, c"/dev/nothing", mode);
    checks.expect("open what is not there", none, Err(Errno::ENOENT));
    let driverless = open(checks.ipc, c"/dev/c3d0", mode);
    checks.expect("open without a driver", driverless, Err(Errno::ENXIO));

    let first = open(checks.ipc, name, mode);
    checks.expect("open", first, Ok(Descriptor(3)));
    let second = open(checks.ipc, name, OpenMode::O_RDWR);
    checks.expect("open again", second, Ok(Descriptor(4)));
    let file = Descriptor(3);
    let mut count = [0; 4];
    let asked = control(checks.ipc, file, IoctlCode::DIOCOPENCT, &mut count);
    checks.expect("count of opens", (asked, count), (Ok(0), [2, 0, 0, 0]));
    let flushed = control(checks.ipc, Descriptor(4), IoctlCode::DIOCFLUSH, &mut []);
    checks.expect("flush", flushed, Ok(0));
    let unknown = IoctlCode(IoctlCode::DIOCFLUSH.0 | 0xFF);
    let refused = control(checks.ipc, file, unknown, &mut []);
    checks.expect("unknown request", refused, Err(Errno::ENOTTY));

    for file in [file, Descriptor(4)] {
        let closed = close(checks.ipc, file);
        checks.expect("close", closed, Ok(()));
    }
    let closed = close(checks.ipc, file);
    checks.expect("close again", closed, Err(Errno::EBADF));
    let flushed = control(checks.ipc, file, IoctlCode::DIOCFLUSH, &mut []);
    checks.expect("flush of a closed file", flushed, Err(Errno::EBADF));
    // VFS closes it at the end of the program.
    let left = open(checks.ipc, name, mode);
    checks.expect("open and leave", left, Ok(file));
}

fn terminal<I: Ipc>(checks: &mut Checks<'_, I>) {
    let mut line = [0; 16];
    let is_one = is_terminal(checks.ipc, Descriptor::STDIN);
    let typed = read(checks.ipc, Descriptor::STDIN, &mut line);
    let typed = typed.map(|count| core::str::from_utf8(&line[..count]).map(str::trim_end));
    let wanted = if is_one { TYPED } else { "" };
    checks.expect("standard input", typed, Ok(Ok(wanted)));
    let end = read(checks.ipc, Descriptor::STDIN, &mut [0; 4]);
    checks.expect("end of input", end, Ok(0));
}

fn privileges<I: Ipc>(checks: &mut Checks<'_, I>) {
    let who = kernel::who_am_i(checks.ipc).map(|who| who.endpoint);
    checks.expect("kernel call", who, Err(Errno::ECALLDENIED));
    let notified = checks.ipc.notify(Endpoint::PM);
    checks.expect("notify", notified, Err(Errno::ETRAPDENIED));
    let mut message = Message::new(MessageType::NOTIFY_MESSAGE);
    let asked = checks.ipc.sendrec(Endpoint::DS, &mut message);
    checks.expect("ask another server", asked, Err(Errno::ECALLDENIED));
}
