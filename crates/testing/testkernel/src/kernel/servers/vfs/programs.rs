//! What programs ask of VFS. A request to a driver waits for its turn: a driver gets one at a time, and its answer ends the
//! call of the program.

use board_qemu_virt::println;
use guest_protocol::Record;
use minix_abi::bdev::{BdevAccess, BdevRequest};
use minix_abi::grant::{GrantFlags, MagicGrant};
use minix_abi::ioctl::IoctlCode;
use minix_abi::vfs::{Close, Control, Descriptor, OpenMode, OpenPath, Select, TimeValue, Transfer};
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};
use testkernel::device_name::device;
use zerocopy::{FromZeros, IntoBytes};

use super::files::File;
use super::{Talk, Vfs, ask};
use crate::kernel::deliver::reply;
use crate::kernel::process::Slot;
use crate::kernel::report::emit;
use crate::kernel::state::Kernel;

/// Bytes of output in a record: each may need two in JSON, or six.
const OUTPUT_BYTES: usize = 80;
/// Longest name of a file that is looked at.
const NAME_BYTES: usize = 64;
/// A request that the driver answers with `ERESTART` is made so often.
const TRIES: u8 = 5;

/// What a driver is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Open,
    Close,
    Control { code: IoctlCode, argument: u64 },
}

/// A request of a program to a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) file: File,
    what: What,
    /// To the argument of a control request, while the driver has the request.
    grant: GrantId,
    tries: u8,
}

impl Call {
    const fn new(file: File, what: What) -> Self {
        Self {
            file,
            what,
            grant: GrantId::INVALID,
            tries: 0,
        }
    }

    pub(super) const fn kind(&self) -> MessageType {
        match self.what {
            What::Open => MessageType::BDEV_OPEN,
            What::Close => MessageType::BDEV_CLOSE,
            What::Control { .. } => MessageType::BDEV_IOCTL,
        }
    }

    pub(super) fn fill(&self, request: &mut BdevRequest) {
        (request.minor, request.access) = (self.file.minor, self.file.access);
        if let What::Control { code, .. } = self.what {
            (request.request, request.grant, request.user) = (code, self.grant, self.file.program);
        }
    }
}

impl Vfs {
    /// A program starts. At its terminal, if it has one, this line is typed.
    pub(in crate::kernel::servers) fn start(
        &mut self,
        endpoint: Endpoint,
        typed: Option<&'static str>,
    ) -> Result<(), &'static str> {
        self.files.add(endpoint, typed)
    }

    /// A program is gone: its files are closed.
    pub(in crate::kernel::servers) fn gone(&mut self, kernel: &mut Kernel, endpoint: Endpoint) {
        self.files.forget(endpoint);
        let mut descriptor = Descriptor(0);
        while let Some(file) = self.files.next_of(endpoint, descriptor) {
            descriptor = Descriptor(file.descriptor.0 + 1);
            self.begin(kernel, Call::new(file, What::Close));
        }
    }

    /// Whether a driver has a request of this program, or is to get one. On MINIX a program that is killed lives on until that
    /// is answered.
    pub(in crate::kernel) fn waits_for_driver(&self, program: Endpoint) -> bool {
        let is_its = |call: &Call| call.file.program == program;
        let talks = self.drivers.iter().filter_map(|driver| driver.talk);
        self.waiting.iter().any(is_its) || { talks }.any(|talk| matches!(talk, Talk::Program(call) if is_its(&call)))
    }

    /// Wakes programs that have slept for long enough.
    pub(in crate::kernel::servers) fn wake(&mut self, kernel: &mut Kernel) {
        while let Some(program) = self.files.wakes(kernel.clock.uptime) {
            answer(kernel, program, Ok(0));
        }
    }

    /// A call of a program. Services make none.
    pub(super) fn call(&mut self, kernel: &mut Kernel, caller: Slot, message: &Message) {
        let program = kernel.processes[caller].endpoint;
        if !self.files.is_program(program) {
            return answer(kernel, program, Err(Errno::ENOSYS));
        }
        let result = match message.kind {
            MessageType::VFS_OPEN => self.open(kernel, caller, &message.payload()),
            MessageType::VFS_CLOSE => self.close(kernel, program, &message.payload()),
            MessageType::VFS_IOCTL => self.control(kernel, caller, &message.payload()),
            MessageType::VFS_READ => self.read(kernel, caller, &message.payload()).map(Some),
            MessageType::VFS_WRITE => write(kernel, caller, &message.payload()).map(Some),
            MessageType::VFS_SELECT => self.select(kernel, caller, &message.payload()),
            kind => {
                println!("VFS: {kind:?} of {} is not known here", program.0);
                Err(Errno::ENOSYS)
            }
        };
        if let Some(result) = result.transpose() {
            answer(kernel, program, result);
        }
    }

    fn open(&mut self, kernel: &mut Kernel, caller: Slot, call: &OpenPath) -> Result<Option<i32>, Errno> {
        let program = kernel.processes[caller].endpoint;
        let bytes = usize::try_from(call.name_bytes).map_err(|_| Errno::ENAMETOOLONG)?;
        let mut name = [0; NAME_BYTES];
        let name = name.get_mut(..bytes).ok_or(Errno::ENAMETOOLONG)?;
        if bytes <= OpenPath::TEXT_BYTES {
            name.copy_from_slice(&call.text[..bytes]);
        } else {
            let read = kernel.read_user(caller, call.name, name);
            read.map_err(|_| Errno::EFAULT)?;
        }
        let [name @ .., 0] = &*name else {
            return Err(Errno::EINVAL);
        };
        let name = core::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        let (major, minor) = device(name).ok_or(Errno::ENOENT)?;
        let access = match call.mode {
            OpenMode::O_RDONLY => BdevAccess::READ,
            OpenMode::O_WRONLY => BdevAccess::WRITE,
            OpenMode::O_RDWR => BdevAccess::READ | BdevAccess::WRITE,
            _ => return Err(Errno::EINVAL),
        };
        let file = File {
            program,
            descriptor: self.files.free_descriptor(program)?,
            major,
            minor,
            access,
        };
        self.begin(kernel, Call::new(file, What::Open));
        Ok(None)
    }

    fn close(&mut self, kernel: &mut Kernel, program: Endpoint, call: &Close) -> Result<Option<i32>, Errno> {
        let file = self.files.find(program, call.descriptor).ok_or(Errno::EBADF)?;
        self.begin(kernel, Call::new(file, What::Close));
        Ok(None)
    }

    fn control(&mut self, kernel: &mut Kernel, caller: Slot, call: &Control) -> Result<Option<i32>, Errno> {
        let program = kernel.processes[caller].endpoint;
        if is_standard(call.descriptor) {
            if !self.files.has_terminal(program) || call.code != IoctlCode::TIOCGETA {
                return Err(Errno::ENOTTY);
            }
            let settings = [0; IoctlCode::TIOCGETA.argument_bytes()];
            let written = kernel.write_user(caller, call.argument, &settings);
            return written.map(|()| Some(0)).map_err(|_| Errno::EFAULT);
        }
        let file = self.files.find(program, call.descriptor).ok_or(Errno::EBADF)?;
        let (code, argument) = (call.code, call.argument);
        self.begin(kernel, Call::new(file, What::Control { code, argument }));
        Ok(None)
    }

    /// Standard input gives one line. Disks are read by file systems, which are not modelled.
    fn read(&mut self, kernel: &mut Kernel, caller: Slot, call: &Transfer) -> Result<i32, Errno> {
        let program = kernel.processes[caller].endpoint;
        if call.descriptor != Descriptor::STDIN {
            let is_open = is_standard(call.descriptor) || self.files.find(program, call.descriptor).is_some();
            return Err(if is_open { Errno::EIO } else { Errno::EBADF });
        }
        let Some(line) = self.files.line(program) else {
            return Ok(0);
        };
        let room = usize::try_from(call.bytes).map_err(|_| Errno::EINVAL)?;
        let text = &line[..line.len().min(room)];
        let end: &[u8] = if text.len() < room { b"\n" } else { b"" };
        kernel
            .write_user(caller, call.buffer, text)
            .and_then(|()| kernel.write_user(caller, call.buffer.wrapping_add(text.len() as u64), end))
            .map_err(|_| Errno::EFAULT)?;
        Ok((text.len() + end.len()) as i32)
    }

    /// A sleep, which goes by ticks as on MINIX: where others keep the ticks from coming, it lasts.
    fn select(&mut self, kernel: &mut Kernel, caller: Slot, call: &Select) -> Result<Option<i32>, Errno> {
        if call.end != 0 || call.timeout == 0 {
            println!("VFS: SELECT of descriptors is not known here");
            return Err(Errno::ENOSYS);
        }
        let mut span = TimeValue::new_zeroed();
        let read = kernel.read_user(caller, call.timeout, span.as_mut_bytes());
        read.map_err(|_| Errno::EFAULT)?;
        let (seconds, micros) = match (u64::try_from(span.seconds), u64::try_from(span.micros)) {
            (Ok(seconds), Ok(micros)) if micros < 1_000_000 => (seconds, micros),
            _ => return Err(Errno::EINVAL),
        };
        let hz = u64::from(kernel.clock.hz());
        let ticks = seconds
            .saturating_mul(hz)
            .saturating_add((micros * hz).div_ceil(1_000_000));
        if ticks == 0 {
            return Ok(Some(0));
        }
        let until = kernel.clock.uptime.saturating_add(ticks);
        self.files.sleep(kernel.processes[caller].endpoint, until);
        Ok(None)
    }

    /// Asks a driver, or has the request wait until that has answered the one before.
    fn begin(&mut self, kernel: &mut Kernel, mut call: Call) {
        let major = call.file.major;
        let driver = { self.drivers.iter_mut() }.find(|driver| driver.major == major);
        let Some(driver) = driver.filter(|driver| driver.endpoint != Endpoint::NONE) else {
            return self.end(kernel, call, Err(Errno::ENXIO));
        };
        if driver.talk.is_some() {
            if self.waiting.push_back(call).is_err() {
                self.end(kernel, call, Err(Errno::EAGAIN));
            }
            return;
        }
        // It is dead, and its successor is not mapped yet.
        let Some(slot) = kernel.processes.find(driver.endpoint).filter(|_| !driver.is_dead) else {
            return self.end(kernel, call, Err(Errno::EIO));
        };
        if let What::Control { code, argument } = call.what {
            let mut access = GrantFlags::empty();
            access.set(GrantFlags::READ, code.driver_reads());
            access.set(GrantFlags::WRITE, code.driver_writes());
            let magic = MagicGrant {
                owner: call.file.program,
                grantee: driver.endpoint,
                start: argument,
                bytes: code.argument_bytes() as u64,
            };
            let grant = kernel.ports.vfs_grants.grant(access, magic);
            call.grant = grant.expect("there is a grant for each driver");
        }
        ask(kernel, driver, slot, Talk::Program(call));
    }

    /// Makes the requests that wait for a driver, up to the first one that it gets.
    pub(super) fn go_on(&mut self, kernel: &mut Kernel, major: u32) {
        loop {
            let is_free = |driver: &super::Driver| driver.major == major && driver.talk.is_some();
            if self.drivers.iter().any(is_free) {
                return;
            }
            // They keep their order.
            let mut next = None;
            for _ in 0..self.waiting.len() {
                match self.waiting.pop_front() {
                    Some(call) if next.is_none() && call.file.major == major => next = Some(call),
                    Some(call) => drop(self.waiting.push_back(call)),
                    None => {}
                }
            }
            let Some(call) = next else { return };
            self.begin(kernel, call);
        }
    }

    /// A driver has answered.
    pub(super) fn answered(&mut self, kernel: &mut Kernel, mut call: Call, status: Status) {
        kernel.ports.vfs_grants.revoke(call.grant);
        if status == Errno::ERESTART.into() {
            call.tries += 1;
            if call.tries < TRIES {
                return self.begin(kernel, call);
            }
            return self.end(kernel, call, Err(Errno::EIO));
        }
        self.end(kernel, call, status.result().map(|value| value as i32));
    }

    /// A driver is dead, and so is its request.
    pub(super) fn failed(&mut self, kernel: &mut Kernel, call: Call) {
        kernel.ports.vfs_grants.revoke(call.grant);
        self.end(kernel, call, Err(Errno::EIO));
    }

    /// Ends the call of a program.
    fn end(&mut self, kernel: &mut Kernel, call: Call, mut result: Result<i32, Errno>) {
        let file = call.file;
        match (call.what, result) {
            (What::Open, Ok(_)) if !self.files.is_program(file.program) => {
                // It was killed meanwhile.
                return self.begin(kernel, Call::new(file, What::Close));
            }
            (What::Open, Ok(_)) => result = self.files.open(file).map(|()| file.descriptor.0),
            // A close succeeds, whatever the driver says.
            (What::Close, _) => {
                self.files.remove(file);
                result = Ok(0);
            }
            _ => {}
        }
        answer(kernel, file.program, result);
    }
}

fn is_standard(descriptor: Descriptor) -> bool {
    matches!(descriptor, Descriptor::STDIN | Descriptor::STDOUT | Descriptor::STDERR)
}

/// Standard output and standard error output become records.
fn write(kernel: &mut Kernel, caller: Slot, call: &Transfer) -> Result<i32, Errno> {
    if !matches!(call.descriptor, Descriptor::STDOUT | Descriptor::STDERR) {
        return Err(Errno::EBADF);
    }
    let total = i32::try_from(call.bytes).map_err(|_| Errno::EINVAL)?;
    let label = kernel.processes[caller].label.clone();
    let mut done = 0;
    while done < call.bytes {
        let mut bytes = [0; OUTPUT_BYTES];
        let bytes = &mut bytes[..OUTPUT_BYTES.min((call.bytes - done) as usize)];
        kernel
            .read_user(caller, call.buffer.wrapping_add(done), bytes)
            .map_err(|_| Errno::EFAULT)?;
        done += bytes.len() as u64;
        // What programs write is ASCII.
        for byte in bytes.iter_mut().filter(|byte| !byte.is_ascii()) {
            *byte = b'?';
        }
        emit(&Record::Output {
            label: &label,
            descriptor: call.descriptor.0,
            text: core::str::from_utf8(bytes).unwrap_or_default(),
        });
    }
    Ok(total)
}

/// Answers the call of a program, if that still lives.
fn answer(kernel: &mut Kernel, program: Endpoint, result: Result<i32, Errno>) {
    let status = match result {
        Ok(value) => Status(value),
        Err(errno) => errno.into(),
    };
    if let Some(slot) = kernel.processes.find(program) {
        reply(kernel, Endpoint::VFS, slot, Message::reply(status));
    }
}
