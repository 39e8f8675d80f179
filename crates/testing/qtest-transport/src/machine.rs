//! A QEMU whose machine is stopped, and what is on its buses.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtio_mmio::MmioTransport;
use virtio_pci::pci_types::PciAddress;
use virtio_pci::{BarSpace, Bars, PciFunction, PciTransport};
use virtio_vhost_user::{MemoryError, SharedMemory};

use crate::wire::{Window, Wire};
use crate::{BarMapper, BarRegisters, Ecam, MmioRegisters};

/// The program.
pub const QEMU: &str = "qemu-system-riscv64";

/// How long QEMU may take until it accepts connections.
const START: Duration = Duration::from_secs(30);

/// RAM of the machine: where it is, and how much.
const RAM: u64 = 0x8000_0000;
const RAM_BYTES: usize = 64 << 20;

/// The windows of the MMIO transport.
const WINDOWS: u64 = 0x1000_1000;
const WINDOW_BYTES: u64 = 0x1000;
const WINDOW_COUNT: u64 = 8;

/// Where BARs are put: memory and ports.
const BAR_MEMORY: u64 = 0x4000_0000;
const BAR_PORTS: u64 = 0x1000;

/// The slot of the disk on the PCI bus.
const SLOT: u8 = 3;

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// A file, a socket or the program cannot be used.
    #[error("cannot start {QEMU}: {0}")]
    Start(#[from] io::Error),
    /// The memory cannot be mapped.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The program has ended, or takes no connections.
    #[error("{QEMU} does not start: {0}")]
    Ended(String),
}

/// The bus of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// A window of the MMIO transport.
    Mmio,
    /// The PCI bus.
    Pci,
}

/// The machine and its disk.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// The bus of the disk.
    pub bus: Bus,
    /// Whether the disk has the legacy interface alone. Otherwise it has the modern one alone.
    pub legacy: bool,
    /// Properties of the disk, as on QEMU's command line: `num-queues=2,queue-size=16`.
    pub properties: String,
}

/// A QEMU that runs no instruction of its machine, which is used over its qtest socket. It ends when the value goes.
pub struct Machine {
    process: Child,
    directory: TempDir,
    wire: Wire,
    memory: SharedMemory,
    bus: Bus,
    /// Whether the registers of the disk were given out.
    is_taken: bool,
}

impl Machine {
    /// Starts a machine whose disk is the raw image in the file `image`.
    ///
    /// # Errors
    ///
    /// [`MachineError`].
    pub fn start(image: &Path, options: &MachineOptions) -> Result<Self, MachineError> {
        let directory = TempDir::new()?;
        let (socket, ram) = (directory.path().join("qtest.sock"), directory.path().join("ram"));
        let file = File::options().read(true).write(true).create_new(true).open(&ram)?;
        let memory = SharedMemory::of_file(file, RAM, RAM_BYTES)?;
        let complaints = directory.path().join("complaints");
        let mut process = command(&socket, &ram, image, options)
            .stderr(File::create(&complaints)?)
            .spawn()?;
        let stream = match connect(&socket, &mut process) {
            Ok(stream) => stream,
            Err(_) => {
                let _ = process.kill();
                let _ = process.wait();
                let text = std::fs::read_to_string(&complaints).unwrap_or_default();
                return Err(MachineError::Ended(text.trim().replace('\n', "; ")));
            }
        };
        Ok(Self {
            process,
            directory,
            wire: Wire::new(stream)?,
            memory,
            bus: options.bus,
            is_taken: false,
        })
    }

    /// RAM of the machine, for rings and buffers.
    pub fn memory(&self) -> SharedMemory {
        self.memory.clone()
    }

    /// Kills QEMU without a warning. Its registers answer as an empty bus does from then on.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The number of the process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The disk on the MMIO transport, once. `None` if it is on PCI, or was given out.
    pub fn mmio(&mut self) -> Option<MmioTransport<MmioRegisters>> {
        if self.bus != Bus::Mmio || std::mem::replace(&mut self.is_taken, true) {
            return None;
        }
        let mut windows = (0..WINDOW_COUNT).map(|nth| WINDOWS + nth * WINDOW_BYTES);
        windows.find_map(|base| {
            let wire = self.wire.clone();
            virtio_mmio::probe(MmioRegisters(Window { wire, base })).device()
        })
    }

    /// The disk on the PCI bus, once, with its BARs assigned. `None` if it is on MMIO, or was given out.
    pub fn pci(&mut self) -> Option<PciTransport<Ecam, BarRegisters>> {
        if self.bus != Bus::Pci || std::mem::replace(&mut self.is_taken, true) {
            return None;
        }
        let address = PciAddress::new(0, 0, SLOT, 0);
        // SAFETY: `access` reaches the machine's configuration space, each access is completed, and the function is given out once.
        let mut function = unsafe { PciFunction::new(Ecam(self.wire.clone()), address) };
        assign(&mut function);
        virtio_pci::probe(function, &mut BarMapper(self.wire.clone())).ok()
    }

    /// The directory for the files of the machine. It is removed with it.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(socket: &Path, ram: &Path, image: &Path, options: &MachineOptions) -> Command {
    let mut command = Command::new(QEMU);
    command.args([
        "-machine",
        "virt,memory-backend=ram",
        "-S",
        "-nodefaults",
        "-display",
        "none",
        "-bios",
        "none",
    ]);
    command.args(["-m", &format!("{}M", RAM_BYTES >> 20), "-object"]);
    command.arg(format!(
        "memory-backend-file,id=ram,size={RAM_BYTES},share=on,mem-path={}",
        ram.display()
    ));
    command
        .arg("-qtest")
        .arg(format!("unix:{},server=on,wait=off", socket.display()));
    command.args(["-qtest-log", "/dev/null"]);
    command.arg("-drive").arg(format!(
        "if=none,id=d0,format=raw,discard=unmap,cache.direct=off,file={}",
        image.display()
    ));
    let mut device = match options.bus {
        Bus::Mmio => "virtio-blk-device,drive=d0".to_owned(),
        Bus::Pci => {
            let form = if options.legacy {
                "disable-modern=on,disable-legacy=off"
            } else {
                "disable-legacy=on"
            };
            format!("virtio-blk-pci,drive=d0,addr={SLOT},{form}")
        }
    };
    if !options.properties.is_empty() {
        device += ",";
        device += &options.properties;
    }
    let force = format!("virtio-mmio.force-legacy={}", options.legacy);
    command.args(["-global", &force, "-device", &device]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn connect(socket: &Path, process: &mut Child) -> io::Result<UnixStream> {
    let started = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if started.elapsed() > START || process.try_wait()?.is_some() => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Puts the BARs of the function somewhere, one after the other.
fn assign(function: &mut PciFunction<Ecam>) {
    let (mut memory, mut ports) = (BAR_MEMORY, BAR_PORTS);
    let bars = Bars::read(function);
    for (index, bar) in bars.iter() {
        let next = if bar.space == BarSpace::Ports {
            &mut ports
        } else {
            &mut memory
        };
        let address = next.next_multiple_of(bar.bytes);
        *next = address + bar.bytes;
        let register = 0x10 + 4 * index;
        // SAFETY: nothing else of the machine is at these addresses, and nothing is mapped yet.
        unsafe {
            function.write(register, address as u32);
            if bar.wide {
                function.write(register + 4, (address >> 32) as u32);
            }
        }
    }
}
