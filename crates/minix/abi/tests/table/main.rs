//! The table in the project's book: made here from the types, compared with what is there.

mod page;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use minix_abi::bdev::{self, BdevAccess, BdevFlags, BdevReply, BdevRequest, VectorElement};
use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::ds::{self, DsFlags, DsReply, DsRequest};
use minix_abi::grant::{DirectGrant, GrantEntry, GrantFlags, IndirectGrant, MAX_INDIRECTION, MagicGrant};
use minix_abi::ioctl::{IoctlCode, PartGeom};
use minix_abi::ipc::{AsyncFlags, AsyncMessage, IpcCall, TrapVector};
use minix_abi::kernel_call::*;
use minix_abi::kerninfo::{ClockInfo, KernInfo, KernInfoFlags, Machine, UserInfo};
use minix_abi::minor::{self, Place};
use minix_abi::notify::Notification;
use minix_abi::partition::{self, PartitionEntry, SystemId};
use minix_abi::process::{self, PsStrings};
use minix_abi::rs::{
    FaultInjection, FaultKind, Init, InitFlags, InitType, LuPrepare, LuState, PROCESS_TABLE_ENTRY_BYTES, RsStart,
    SignalReceived, Up,
};
use minix_abi::signal::{SigSet, Signal};
use minix_abi::trace::{TRACE_ENTRIES_AT_ONCE, TraceControl, TraceEntry, TraceRequest};
use minix_abi::vfs::MapDriver;
use minix_abi::vm::{Brk, MapFlags, MapPhys, Mmap, Protection, UnmapPhys, VmInfo};
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, PAGE_BYTES, Status};

use crate::page::{Page, declared};

const INTRODUCTION: &str = "\
# The MINIX interface in numbers

<!-- Made by `UPDATE=1 cargo test -p minix-abi --test table`; changes by hand get lost. -->

Everything that `minix-abi` knows about MINIX 3 on riscv64, as compiled for that machine (LP64, little-endian). This page is
made from the crate, so it says what the code says. What things mean is in the crate's documentation.

Offsets and lengths are in bytes. Bytes that no field claims are padding or of no interest: zero when sent, ignored when
received. Offsets of payloads count from the start of the payload, which is at offset 8 of the message.
";

/// `codes!` lists: the value in decimal or hexadecimal.
macro_rules! decimal {
    ($page:ident, $name:ident, $about:literal) => {
        $page.codes(stringify!($name), $about, $name::NAMED, |code| code.0.to_string())
    };
}
macro_rules! hex {
    ($page:ident, $name:ident, $about:literal) => {
        $page.codes(stringify!($name), $about, $name::NAMED, |code| format!("{:#x}", code.0))
    };
}
macro_rules! flags {
    ($page:ident, $name:ident, $about:literal) => {
        $page.flags::<$name>(stringify!($name), $about)
    };
}

fn page() -> String {
    let mut page = Page {
        text: INTRODUCTION.into(),
        types: BTreeSet::new(),
    };
    messages(&mut page);
    processes(&mut page);
    errors(&mut page);
    kernel_calls(&mut page);
    grants(&mut page);
    servers(&mut page);
    block_devices(&mut page);
    disks(&mut page);
    programs(&mut page);
    assert_eq!(
        declared()
            .difference(&page.types.iter().map(ToString::to_string).collect())
            .count(),
        0
    );
    page.text
}

fn messages(page: &mut Page) {
    page.section("Messages");
    page.structure::<Message>("What passes between processes and the kernel. Aligned to 8.");
    page.line("\n### `MessageType`\n\n| name | value |\n|---|---|");
    for (name, kind) in MessageType::FAMILIES.concat() {
        page.line(format_args!("| `{name}` | {:#x} |", kind.0));
    }
    decimal!(page, TrapVector, "Register `a7` of an `ecall`.");
    decimal!(
        page,
        IpcCall,
        "Register `a2` of an `ecall` for message passing; the low six bits of the status word."
    );
    page.structure::<AsyncMessage>("An entry of the table for `SENDA`. Aligned to 8.");
    flags!(page, AsyncFlags, "State of an `AsyncMessage`, and wishes.");
    page.structure::<Notification>("The body of a notification.");
    page.structure::<SigSet>("Signal n is bit (n - 1) % 32 of word (n - 1) / 32.");
    decimal!(page, Signal, "Signals.");
    page.limits(&[
        ("bytes of a payload", Message::PAYLOAD_BYTES as u64),
        ("entries for `SENDA`, at most", AsyncMessage::MAX_ENTRIES as u64),
        ("last signal that comes through RS", Signal::LAST_THROUGH_RS.0 as u64),
        ("first signal of the kernel", Signal::FIRST_OF_KERNEL.0 as u64),
    ]);
}

fn processes(page: &mut Page) {
    page.section("Processes");
    decimal!(
        page,
        Endpoint,
        "endpoint = generation * 32768 + slot; slots of kernel tasks are negative."
    );
    page.limits(&[
        ("distance between generations", Endpoint::GENERATION_STEP as u64),
        ("kernel tasks there can be", Endpoint::MAX_TASKS as u64),
        ("kernel tasks there are", Endpoint::TASKS as u64),
        ("processes", Endpoint::PROCESSES as u64),
        ("services", Endpoint::SERVICES as u64),
    ]);
}

fn errors(page: &mut Page) {
    page.section("Errors");
    page.table(
        "`Errno`",
        "Negative in messages and as results of traps.",
        "| name | number | meaning |",
    );
    for (name, errno, meaning) in Errno::KNOWN {
        page.line(format_args!("| `{name}` | {} | {meaning} |", errno.number()));
    }
    page.codes(
        "Status",
        "Codes that are no errors, and stay inside the system.",
        Status::PRIVATE,
        |status| status.0.to_string(),
    );
}

fn kernel_calls(page: &mut Page) {
    page.section("Kernel calls");
    page.structure::<IrqCtl>("`SYS_IRQCTL`. For `SETPOLICY` the last field is the notify id.");
    page.structure::<IrqHook>("The reply to `SETPOLICY`.");
    decimal!(page, IrqRequest, "What to do with a line.");
    flags!(page, IrqPolicy, "What happens when it fires.");
    page.structure::<SafeCopy>("`SYS_SAFECOPYFROM`, `SYS_SAFECOPYTO`.");
    page.structure::<VectorCopy>("`SYS_VSAFECOPY`.");
    page.structure::<VectorCopyElement>("An element of its vector.");
    page.structure::<VirCopy>("`SYS_VIRCOPY`, `SYS_PHYSCOPY`.");
    page.structure::<Umap>("`SYS_UMAP`, `SYS_UMAP_REMOTE`.");
    page.structure::<UmapReply>("The reply.");
    hex!(page, Segment, "What the address of a `Umap` is.");
    page.structure::<Vumap>("`SYS_VUMAP`.");
    page.structure::<VumapReply>("The reply.");
    flags!(page, MapAccess, "What a device is going to do.");
    page.structure::<MapElement>("An element of the input vector: an address, or a grant id in the lower half.");
    page.structure::<PhysRange>("An element of the output vector.");
    page.structure::<SetAlarm>("`SYS_SETALARM`, and the reply.");
    page.structure::<Times>("`SYS_TIMES`.");
    page.structure::<TimesReply>("The reply.");
    page.structure::<PrivCtl>("`SYS_PRIVCTL`.");
    decimal!(page, PrivRequest, "What to do with privileges.");
    page.structure::<MemRange>("The argument of `ADD_MEM`; the limit is the last byte.");
    flags!(page, PrivFlags, "Privileges.");
    page.structure::<SetGrant>("`SYS_SETGRANT`.");
    page.structure::<DiagCtl>("`SYS_DIAGCTL`.");
    decimal!(page, DiagCode, "What to do.");
    page.structure::<GetInfo>("`SYS_GETINFO`.");
    decimal!(page, InfoRequest, "What to ask for.");
    page.structure::<WhoAmI>("The reply to `WHOAMI`.");
    page.structure::<StateCtl>("`SYS_STATECTL`.");
    decimal!(page, StateRequest, "What to do.");
    page.structure::<KernelSignal>("`SYS_KILL`, `SYS_GETKSIG`, `SYS_ENDKSIG`.");
    page.limits(&[
        (
            "numbers of kernel calls, from 0x600 on",
            MessageType::KERNEL_CALL_COUNT as u64,
        ),
        ("interrupt vectors", VECTORS as u64),
        ("largest notify id", MAX_NOTIFY_ID as u64),
        ("largest notify id to use", MAX_SAFE_NOTIFY_ID as u64),
        ("interrupt hooks", MAX_HOOKS as u64),
        ("interrupt lines of a service", MAX_SERVICE_IRQS as u64),
        ("memory ranges of a service", MAX_MEM_RANGES as u64),
        (
            "elements of `SYS_VSAFECOPY`, which the kernel does not check",
            MAX_COPIES as u64,
        ),
        ("elements and ranges of `SYS_VUMAP`", MAX_RANGES as u64),
        ("bytes of text for `SYS_DIAGCTL`", MAX_DIAG_BYTES as u64),
        ("`time_left` without an alarm", NO_ALARM),
        ("ticks per second, unless configured otherwise", DEFAULT_HZ.into()),
    ]);
}

fn grants(page: &mut Page) {
    page.section("Grants");
    decimal!(page, GrantId, "id = sequence number * 2^20 + index.");
    page.structure::<GrantEntry>("An entry of the grant table. The body depends on the kind.");
    page.structure::<DirectGrant>("The body of a direct grant.");
    page.structure::<IndirectGrant>("The body of an indirect grant.");
    page.structure::<MagicGrant>("The body of a magic grant.");
    flags!(page, GrantFlags, "Access, kind and state.");
    page.limits(&[
        ("entries of a table, at most", GrantId::MAX_ENTRIES.into()),
        ("sequence numbers", GrantId::SEQUENCES.into()),
        ("indirect grants in a row", MAX_INDIRECTION as u64),
    ]);
}

fn servers(page: &mut Page) {
    page.section("Servers");
    page.structure::<Brk>("`VM_BRK`.");
    page.structure::<Mmap>("`VM_MMAP`, `VM_MUNMAP`, and the reply.");
    flags!(page, Protection, "What a mapping may be used for.");
    flags!(page, MapFlags, "What kind of mapping.");
    page.structure::<MapPhys>("`VM_MAP_PHYS`, and the reply.");
    page.structure::<UnmapPhys>("`VM_UNMAP_PHYS`.");
    page.structure::<VmInfo>("`VM_INFO`, and the reply.");
    page.structure::<Up>("`RS_UP`.");
    page.structure::<RsStart>("What `RS_UP` points to.");
    page.structure::<Init>("`RS_INIT`, and the answer.");
    decimal!(page, InitType, "Why a service is initialised.");
    flags!(page, InitFlags, "How.");
    page.structure::<LuPrepare>("`RS_LU_PREPARE`, and the answer.");
    decimal!(page, LuState, "The state to be reached.");
    page.structure::<SignalReceived>("`COMMON_SIGNAL`.");
    page.structure::<FaultInjection>("`COMMON_FAULT_INJECTION`.");
    decimal!(page, FaultKind, "How to fail.");
    page.structure::<DsRequest>("All requests to DS.");
    page.structure::<DsReply>("The reply.");
    flags!(page, DsFlags, "What kind of value, and what to do.");
    page.structure::<MapDriver>("`VFS_MAPDRIVER`.");
    page.limits(&[
        (
            "bytes of contiguous memory at once, at most",
            Mmap::MAX_CONTIGUOUS_BYTES,
        ),
        (
            "bytes of an entry of RS's process table",
            PROCESS_TABLE_ENTRY_BYTES as u64,
        ),
        ("bytes of a key in DS, NUL included, at least", ds::MIN_KEY_BYTES as u64),
        ("bytes of a key in DS, NUL included, at most", ds::MAX_KEY_BYTES as u64),
        ("value of a driver that is up", ds::DRIVER_UP.into()),
        (
            "offset of the port ranges in `RsStart`",
            RsStart::IO_TABLE_OFFSET as u64,
        ),
        ("offset of the label in `RsStart`", RsStart::LABEL_OFFSET as u64),
        (
            "offset of the mask of VM calls in `RsStart`",
            RsStart::VM_CALLS_OFFSET as u64,
        ),
    ]);
}

fn block_devices(page: &mut Page) {
    page.section("Block devices");
    page.structure::<BdevRequest>("All `BDEV` requests.");
    page.structure::<BdevReply>("`BDEV_REPLY`.");
    flags!(page, BdevAccess, "What a device is opened for.");
    flags!(page, BdevFlags, "Wishes for a transfer.");
    page.structure::<VectorElement>(
        "An element of the vector of `BDEV_GATHER` and `BDEV_SCATTER`. Clients leave its padding uninitialised.",
    );
    page.structure::<CdevOpen>("`CDEV_OPEN`, as far as a block driver looks.");
    page.structure::<CdevReply>("`CDEV_REPLY`.");
    page.types.insert("IoctlCode");
    page.table(
        "`IoctlCode`",
        "Control requests.",
        "| name | code | argument | driver |",
    );
    for (name, code) in IoctlCode::NAMED {
        let way = match (code.driver_reads(), code.driver_writes()) {
            (true, true) => "reads and writes it",
            (true, false) => "reads it",
            (false, true) => "writes it",
            (false, false) => "",
        };
        let bytes = code.argument_bytes();
        page.line(format_args!("| `{name}` | {:#010x} | {bytes} bytes | {way} |", code.0));
    }
    page.structure::<PartGeom>("The argument of `DIOCGETP` and `DIOCSETP`.");
    page.structure::<TraceEntry>("An entry of a trace.");
    decimal!(page, TraceRequest, "What was asked for.");
    decimal!(page, TraceControl, "The argument of `BIOCTRACECTL`.");
    page.limits(&[
        ("elements of a vector", bdev::MAX_ELEMENTS as u64),
        ("trace entries at once", TRACE_ENTRIES_AT_ONCE as u64),
        ("time of a trace entry that is not known", TraceEntry::UNSET_TIME.into()),
    ]);
}

fn disks(page: &mut Page) {
    page.section("Disks");
    page.table(
        "Minor numbers",
        "Drive d, partition p of it, sub-partitions 0 to 3 of that; all counted from zero.",
        "| drive | whole | p = 0 | p = 1 | p = 2 | p = 3 | its sub-partitions of p = 0 | p = 1 | p = 2 | p = 3 |",
    );
    for drive in 0..minor::DRIVES {
        let number = |place: Place| place.minor().unwrap().0;
        let partitions =
            (0..minor::PARTITIONS).map(|partition| number(Place::Partition { drive, partition }).to_string());
        let sub = |partition, sub| number(Place::SubPartition { drive, partition, sub });
        let subs = (0..minor::PARTITIONS).map(|partition| format!("{} to {}", sub(partition, 0), sub(partition, 3)));
        let cells: Vec<_> = partitions.chain(subs).collect();
        page.line(format_args!(
            "| {drive} | {} | {} |",
            number(Place::Drive { drive }),
            cells.join(" | ")
        ));
    }
    page.structure::<PartitionEntry>("An entry of the partition table, as it is on the disk.");
    hex!(page, SystemId, "What a partition holds.");
    let [c0, c1, c2, c3] = minor::CONTROLLER_MAJORS.map(u64::from);
    page.limits(&[
        ("major number of controller c0", c0),
        ("major number of controller c1", c1),
        ("major number of controller c2", c2),
        ("major number of controller c3", c3),
        ("major numbers", minor::MAJORS.into()),
        (
            "minor number where those of floppy partitions start",
            minor::FLOPPY_PARTITIONS as u64,
        ),
        (
            "offset of the partition table in its sector",
            partition::TABLE_OFFSET as u64,
        ),
        ("offset of the signature 0x55, 0xAA", partition::SIGNATURE_OFFSET as u64),
        (
            "bytes that are read to get at the table",
            partition::TABLE_READ_BYTES as u64,
        ),
    ]);
}

fn programs(page: &mut Page) {
    page.section("Programs");
    page.structure::<PsStrings>("Register `a2` points to it at the first instruction.");
    page.structure::<KernInfo>("What `KERNINFO` gives the address of.");
    flags!(page, KernInfoFlags, "What of it is there.");
    page.structure::<ClockInfo>("The clock.");
    page.structure::<UserInfo>("About user processes.");
    page.structure::<Machine>("About the machine: the first part of a longer structure.");
    page.limits(&[
        ("magic number of `KernInfo`", KernInfo::MAGIC.into()),
        ("bytes of a page", PAGE_BYTES),
        ("bytes of a label or process name", process::MAX_NAME_BYTES as u64),
        ("words of a command line", process::MAX_ARGUMENTS as u64),
        ("bytes of a command line", process::MAX_COMMAND_BYTES as u64),
        (
            "bytes between environment pointers and strings",
            process::AUXILIARY_GAP_BYTES as u64,
        ),
        (
            "bytes of the file that hold all program headers",
            process::ELF_HEADERS_LIMIT,
        ),
        ("bytes of a program header", process::ELF_PROGRAM_HEADER_BYTES.into()),
        ("image and stack are below", process::IMAGE_LIMIT),
        ("physical memory starts at", process::RAM_START),
    ]);
    page.line("\n### Address ranges\n\n| from | up to, not including | use |\n|---|---|---|");
    let stack = (process::STACK, "stack");
    for (range, what) in [stack]
        .into_iter()
        .chain(process::RESERVED.map(|range| (range, "reserved")))
    {
        page.line(format_args!("| {:#x} | {:#x} | {what} |", range.start, range.end));
    }
}

/// Where the page is kept, if this is a checkout of the whole project.
fn place() -> Option<PathBuf> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs");
    docs.join("SUMMARY.md").exists().then(|| docs.join("minix-abi.md"))
}

#[test]
fn the_table_in_the_book_is_that_of_the_crate() {
    let page = page();
    let Some(place) = place() else {
        println!("no book here: the table is not compared");
        return;
    };
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&place, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&place).unwrap_or_default();
    let differs = kept.lines().zip(page.lines()).position(|(kept, made)| kept != made);
    assert!(
        kept == page,
        "docs/minix-abi.md is not what the crate says (first difference: line {}); make it anew with \
         `UPDATE=1 cargo test -p minix-abi --test table`",
        differs.unwrap_or_else(|| kept.lines().count().min(page.lines().count())) + 1
    );
}
