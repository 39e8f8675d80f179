//! The QEMU command line of a run, from nothing but the options: what `--dry-run` prints is what a run does.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::Command;

use image_blk::options::BootOptions;

use crate::cli::{Aia, Bus, Foreign, QemuArgs, Removal};
use crate::disk::{Attachment, Outline, escaped};
use crate::example::Name;
use crate::minix::scenario::Extras;

/// The queue sizes QEMU lets a device have.
const DEVICE_QUEUE_SIZES: std::ops::RangeInclusive<u16> = 4..=1024;

/// The TCP port where gdb finds the guest.
pub(crate) const GDB_PORT: u16 = 1234;

/// QEMU's name of a disk that is removed, or whose errors are QEMU's.
pub(crate) const DISK: &str = "disk";
/// And of the slot that it is in.
const SLOT: &str = "slot0";

/// Everything that decides the command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) args: &'a QemuArgs,
    pub(crate) program: &'a Path,
    pub(crate) boot: &'a Boot,
    pub(crate) disks: &'a [Attachment],
    pub(crate) extras: &'a Extras,
}

/// The program to boot, and its instructions.
#[derive(Clone, Debug)]
pub(crate) enum Boot {
    /// The bare image, by words on its command line.
    Bare {
        image: PathBuf,
        /// The words.
        append: String,
        /// Where its defmt frames go.
        defmt: PathBuf,
        /// Where QEMU serves its machine protocol, if it is needed.
        qmp: Option<PathBuf>,
    },
    /// The test kernel, by an archive in memory.
    Minix { kernel: PathBuf, archive: PathBuf },
    /// A program that takes no instructions, on a machine with so many harts. It expects its disks in the first windows.
    Example { program: PathBuf, harts: u16 },
}

/// The id string of a disk, without its number.
const SERIAL: &str = "xtask-disk-";

/// The id string of a disk.
pub(crate) fn serial(number: usize) -> String {
    format!("{SERIAL}{number}")
}

/// The id string that every disk of `qemu-storage-daemon` has.
const DAEMON_SERIAL: &str = "vhost_user_blk";

/// The id string that the guest finds.
pub(crate) fn found_serial(args: &QemuArgs, number: usize) -> String {
    match args.foreign {
        Some(Foreign::StorageDaemon) => DAEMON_SERIAL.to_owned(),
        _ => serial(number),
    }
}

/// The number of the disk with this id string. A disk with an id of its own is the only one.
pub(crate) fn number_of_disk(serial: &str) -> usize {
    let number = serial.strip_prefix(SERIAL);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The boot options of the bare image.
fn boot_options(args: &QemuArgs, outline: &Outline) -> BootOptions {
    BootOptions {
        shell: args.shell,
        poll: args.poll,
        defmt: true,
        queue: args.queue_size,
        queues: NonZeroU16::new(args.hardware.queues).filter(|queues| queues.get() > 1),
        load: args.load,
        count: args.count,
        remove: args.remove.map(Removal::of_guest),
        scratch: outline.scratch.first().copied(),
        digests: outline.samples.clone(),
    }
}

impl Boot {
    /// A boot of the bare image or of the test kernel. `directory` is for the files of the run.
    pub(crate) fn new(args: &QemuArgs, program: &Path, outline: &Outline, directory: &Path) -> Boot {
        let program = program.to_owned();
        match args.bare {
            true => Boot::Bare {
                image: program,
                append: boot_options(args, outline).to_string(),
                defmt: directory.join("defmt.bin"),
                qmp: args.remove.map(|_| directory.join("qmp")),
            },
            false => Boot::Minix {
                kernel: program,
                archive: directory.join("boot.tar"),
            },
        }
    }

    /// A boot of an example.
    pub(crate) fn example(program: PathBuf, name: Name) -> Boot {
        Boot::Example {
            program,
            harts: name.example().harts,
        }
    }

    /// The program that is debugged.
    pub(crate) fn program(&self) -> &Path {
        match self {
            Boot::Bare { image, .. } => image,
            Boot::Minix { kernel, .. } => kernel,
            Boot::Example { program, .. } => program,
        }
    }
}

impl Machine<'_> {
    /// The command, ready to run.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.arguments());
        command
    }

    /// The command as it would be typed.
    pub(crate) fn command_line(&self) -> String {
        typed(&self.command())
    }

    fn arguments(&self) -> Vec<String> {
        let args = self.args;
        let mut line: Vec<String> = Vec::new();
        let mut add = |flag: &str, value: String| line.extend([flag.to_owned(), value]);
        // A back-end maps the memory of the guest.
        let shared = self.disks.iter().any(|disk| disk.socket.is_some());
        let mut machine = "virt".to_owned();
        if args.hardware.aia != Aia::None {
            machine += &format!(",aia={}", args.hardware.aia.name());
        }
        if shared {
            machine += ",memory-backend=memory";
        }
        add("-machine", machine);
        let harts = match self.boot {
            Boot::Example { harts, .. } => *harts,
            _ => args.hardware.harts(args.remove.is_some()),
        };
        add("-smp", harts.to_string());
        add("-m", args.memory.clone());
        if shared {
            let size = bytes(&args.memory);
            add(
                "-object",
                format!("memory-backend-memfd,id=memory,size={size},share=on"),
            );
        }
        add("-bios", "default".into());
        add("-kernel", self.boot.program().display().to_string());
        match self.boot {
            Boot::Bare { append, .. } => add("-append", append.clone()),
            Boot::Minix { archive, .. } => add("-initrd", archive.display().to_string()),
            Boot::Example { .. } => {}
        }
        add("-display", "none".into());
        add("-serial", "stdio".into());
        add("-monitor", "none".into());
        if let Boot::Bare { defmt, .. } = self.boot {
            let file = escaped(&defmt.display().to_string());
            add("-chardev", format!("file,id=defmt,path={file}"));
            add("-semihosting-config", "enable=on,target=native,chardev=defmt".into());
        }
        if let Some(socket) = self.qmp_socket() {
            let socket = escaped(&socket.display().to_string());
            add("-qmp", format!("unix:{socket},server=on,wait=off"));
        }
        if self.args.remove == Some(Removal::Hot) {
            add("-device", format!("pcie-root-port,id={SLOT},chassis=1,slot=1"));
        }
        add("-global", format!("virtio-mmio.force-legacy={}", args.legacy));
        for (number, disk) in self.disks.iter().enumerate() {
            match &disk.socket {
                Some(socket) => {
                    let socket = escaped(&socket.display().to_string());
                    add("-chardev", format!("socket,id=c{number},path={socket}"));
                    add("-device", self.foreign_device(number));
                }
                None => {
                    // QEMU forgets a `-drive` together with its device, and has no other in its place.
                    if args.remove.is_some() || self.extras.faults {
                        add("-blockdev", blockdev(number, disk));
                    } else {
                        add("-drive", self.drive(number, disk));
                    }
                    add("-device", self.device(number));
                }
            }
        }
        if self.extras.counts_instructions || args.count {
            add("-icount", "shift=0".into());
        }
        if let Some(file) = &self.extras.trace {
            for event in ["virtio_blk_handle_*", "virtio_blk_req_complete"] {
                add("-trace", event.into());
            }
            add("-D", file.display().to_string());
        }
        line.push("-no-reboot".into());
        line.push("-nodefaults".into());
        if args.gdb {
            line.extend(["-S".into(), "-gdb".into(), format!("tcp::{GDB_PORT}")]);
        }
        line.extend(args.qemu_args.iter().cloned());
        line
    }

    fn drive(&self, number: usize, disk: &Attachment) -> String {
        let (file, format) = (escaped(&disk.file), disk.format.name());
        let mut drive = match &self.extras.writes {
            Some(log) if number == 0 => format!(
                "if=none,id=d{number},driver=blklogwrites,log-sector-size=512,file.driver={format},file.discard=unmap,\
                 file.file.driver=file,file.file.filename={file},log.driver=file,log.filename={}",
                escaped(&log.display().to_string())
            ),
            _ => format!("if=none,id=d{number},file={file},format={format}"),
        };
        if disk.read_only {
            drive += ",readonly=on";
        } else if disk.discard {
            drive += ",discard=unmap";
        }
        if let Some(iops) = self.extras.iops {
            drive += &format!(",throttling.iops-total={iops}");
        }
        drive
    }

    /// The socket of QEMU's machine protocol, if it is needed.
    pub(crate) fn qmp_socket(&self) -> Option<&Path> {
        match self.boot {
            Boot::Bare { qmp, .. } => qmp.as_deref(),
            Boot::Minix { .. } | Boot::Example { .. } => self.extras.qmp.as_deref(),
        }
    }

    /// The value of the `-device` option of a disk.
    pub(crate) fn device(&self, number: usize) -> String {
        let args = self.args;
        let bus = self.bus(number);
        let driver = if bus == Bus::Mmio {
            "virtio-blk-device"
        } else {
            "virtio-blk-pci"
        };
        let mut device = format!("{driver},drive=d{number},serial={}", serial(number));
        device += &self.interface(bus);
        if let Boot::Example { .. } = self.boot {
            // QEMU begins with the last one otherwise.
            device += &format!(",bus=virtio-mmio-bus.{number}");
        }
        if args.block_size != 512 {
            device += &format!(",logical_block_size={0},physical_block_size={0}", args.block_size);
        }
        match args.remove {
            Some(Removal::Hot) => device += &format!(",id={DISK},bus={SLOT}"),
            Some(_) => device += &format!(",id={DISK}"),
            // Errors are for the guest, and do not stop it.
            None if self.extras.faults => device += &format!(",id={DISK},rerror=report,werror=report"),
            None => {}
        }
        device += &self.queue_size();
        if args.no_event_idx {
            device += ",event_idx=off";
        }
        if args.no_indirect {
            device += ",indirect_desc=off";
        }
        if args.no_flush {
            device += ",write-cache=off,config-wce=off";
        }
        device
    }

    /// The registers of a device whose requests a back-end serves. The back-end decides on the features.
    fn foreign_device(&self, number: usize) -> String {
        let (bus, size) = (self.bus(number), self.queue_size());
        let driver = if bus == Bus::Mmio {
            "vhost-user-blk"
        } else {
            "vhost-user-blk-pci"
        };
        format!("{driver},chardev=c{number}{}{size}", self.interface(bus))
    }

    /// Where a disk is attached.
    fn bus(&self, number: usize) -> Bus {
        self.args.hardware.buses.get(number).copied().unwrap_or(Bus::Mmio)
    }

    /// The part of a `-device` option that says which interfaces it has, how many queues and how many vectors.
    fn interface(&self, bus: Bus) -> String {
        let hardware = &self.args.hardware;
        // Without a number QEMU takes the number of harts on PCI.
        let mut device = format!(",num-queues={}", hardware.queues);
        device += match bus {
            Bus::Mmio => return device,
            Bus::Pci if self.args.legacy => ",disable-modern=on,disable-legacy=off",
            Bus::Pci => ",disable-legacy=on",
            Bus::PciTransitional => ",disable-legacy=off",
        };
        if let Some(vectors) = hardware.vectors {
            device += &format!(",vectors={vectors}");
        }
        device
    }

    /// The end of a `-device` option.
    fn queue_size(&self) -> String {
        match self.args.queue_size {
            Some(size) if DEVICE_QUEUE_SIZES.contains(&size) && size.is_power_of_two() => {
                format!(",queue-size={size}")
            }
            _ => String::new(),
        }
    }
}

/// A disk that stays with QEMU when its device goes.
fn blockdev(number: usize, disk: &Attachment) -> String {
    let access = if disk.read_only {
        "read-only=on"
    } else {
        "discard=unmap"
    };
    format!(
        "driver={},node-name=d{number},{access},file.driver=file,file.filename={}",
        disk.format.name(),
        escaped(&disk.file)
    )
}

/// A size of memory as an object takes it, which counts bytes where `-m` counts MiB.
fn bytes(memory: &str) -> String {
    if memory.ends_with(|last: char| last.is_ascii_digit()) {
        format!("{memory}M")
    } else {
        memory.to_owned()
    }
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A command as a shell takes it.
pub(crate) fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
    words.join(" ")
}

/// The command that debugs the guest.
pub(crate) fn gdb_line(image: &Path) -> String {
    format!(
        "gdb-multiarch {} -ex 'target remote :{GDB_PORT}'",
        quoted(&image.display().to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Format, qemu_args};

    /// The command line for one disk on each bus. One with a back-end has a socket.
    fn command_line(flags: &str, socket: Option<&str>) -> String {
        command_line_with(flags, socket, &Extras::default())
    }

    fn command_line_with(flags: &str, socket: Option<&str>, extras: &Extras) -> String {
        let args = qemu_args(flags, None).unwrap();
        let disk = Attachment {
            file: "/t/a,b".into(),
            format: Format::Raw,
            read_only: false,
            discard: true,
            socket: socket.map(PathBuf::from),
        };
        let machine = Machine {
            args: &args,
            program: Path::new("/no qemu"),
            boot: &Boot::new(&args, Path::new("/t/image"), &Outline::default(), Path::new("/t")),
            disks: &vec![disk; args.hardware.buses.len()],
            extras,
        };
        machine.command_line()
    }

    #[test]
    fn the_command_line_is_what_a_shell_takes() {
        let flags = "--bare --shell --poll --smp 4 --memory 1G --gdb --qemu-arg=-x";
        assert_eq!(
            command_line(flags, None),
            "'/no qemu' -machine virt -smp 4 -m 1G -bios default -kernel /t/image \
             -append 'shell poll defmt' \
             -display none -serial stdio -monitor none -chardev file,id=defmt,path=/t/defmt.bin \
             -semihosting-config enable=on,target=native,chardev=defmt -global virtio-mmio.force-legacy=false \
             -drive if=none,id=d0,file=/t/a,,b,format=raw,discard=unmap \
             -device virtio-blk-device,drive=d0,serial=xtask-disk-0,num-queues=1 -no-reboot -nodefaults -S -gdb tcp::1234 -x"
        );
    }

    #[test]
    fn an_example_has_its_harts_and_its_disks_in_the_first_windows() {
        let args = qemu_args("--example two-disks", None).unwrap();
        let disk = Attachment {
            file: "/t/d".into(),
            format: Format::Raw,
            read_only: false,
            discard: true,
            socket: None,
        };
        let line = |name| {
            let machine = Machine {
                args: &args,
                program: Path::new("/qemu"),
                boot: &Boot::example("/t/example".into(), name),
                disks: &vec![disk.clone(); 2],
                extras: &Extras::default(),
            };
            machine.command_line()
        };
        let two_disks = line(Name::TwoDisks);
        assert!(
            two_disks.starts_with("/qemu -machine virt -smp 1 -m 128M -bios default -kernel /t/example -display none "),
            "{two_disks}"
        );
        assert!(
            two_disks.contains(
                " -device virtio-blk-device,drive=d0,serial=xtask-disk-0,num-queues=1,bus=virtio-mmio-bus.0 "
            )
        );
        assert!(
            two_disks.contains(
                " -device virtio-blk-device,drive=d1,serial=xtask-disk-1,num-queues=1,bus=virtio-mmio-bus.1 "
            )
        );
        assert!(line(Name::Kernel).contains(" -smp 4 "));
    }

    #[test]
    fn a_disk_whose_writes_are_logged_lies_below_the_log() {
        let extras = Extras {
            writes: Some("/t/w".into()),
            ..Extras::default()
        };
        let line = command_line_with("", None, &extras);
        let drive = " -drive if=none,id=d0,driver=blklogwrites,log-sector-size=512,file.driver=raw,file.discard=unmap,\
                     file.file.driver=file,file.file.filename=/t/a,,b,log.driver=file,log.filename=/t/w,discard=unmap ";
        assert!(line.contains(drive), "{line}");
    }

    #[test]
    fn each_bus_has_a_device_with_its_interface() {
        let devices = |flags: &str| {
            let line = command_line(flags, None);
            let devices = line.split("-device ").skip(1);
            let devices = devices.map(|device| device.split_once(",serial=xtask-disk-").unwrap());
            let short = devices.map(|(driver, rest)| format!("{driver} {}", rest.split_once(' ').unwrap().0));
            short.collect::<Vec<_>>()
        };
        assert_eq!(
            devices("--bare --aia aplic-imsic --bus mmio,pci --bus pci-transitional --queues 4 --vectors 2"),
            [
                "virtio-blk-device,drive=d0 0,num-queues=4",
                "virtio-blk-pci,drive=d1 1,num-queues=4,disable-legacy=on,vectors=2",
                "virtio-blk-pci,drive=d2 2,num-queues=4,disable-legacy=off,vectors=2",
            ]
        );
        assert_eq!(
            devices("--bare --bus pci,mmio --legacy"),
            [
                "virtio-blk-pci,drive=d0 0,num-queues=1,disable-modern=on,disable-legacy=off",
                "virtio-blk-device,drive=d1 1,num-queues=1"
            ]
        );
    }

    #[test]
    fn the_machine_has_its_controllers_and_shares_memory_with_a_back_end() {
        let line = command_line("--bare --aia aplic-imsic", None);
        assert!(line.contains(" -machine virt,aia=aplic-imsic "), "{line}");
        let line = command_line("--bare --aia aplic --bus pci --foreign plain", Some("/t/s"));
        assert!(
            line.contains(" -machine virt,aia=aplic,memory-backend=memory "),
            "{line}"
        );
        assert!(
            line.contains(" -device vhost-user-blk-pci,chardev=c0,num-queues=1,disable-legacy=on "),
            "{line}"
        );
    }
}
