//! Every number with a name, against lists that are written down here a second time, both ways complete.

use bitflags::Flags;
use minix_abi::bdev::{BdevAccess, BdevFlags, MAX_ELEMENTS};
use minix_abi::disk_control::*;
use minix_abi::ds::{self, DsFlags};
use minix_abi::grant::GrantFlags;
use minix_abi::ioctl::{CacheFlags, IoctlCode};
use minix_abi::ipc::{AsyncFlags, IpcCall, TrapVector};
use minix_abi::kernel_call::*;
use minix_abi::kerninfo::KernInfoFlags;
use minix_abi::partition::SystemId;
use minix_abi::rs::{FaultKind, InitFlags, InitType, LuState};
use minix_abi::signal::Signal;
use minix_abi::trace::{TraceControl, TraceRequest};
use minix_abi::vfs::{Descriptor, OpenMode};
use minix_abi::vm::{MapFlags, Mmap, Protection};
use minix_abi::{Endpoint, Errno, GrantId, MessageType, Status, minor, process};

/// The same names with the same numbers, in any order. `expected` is names and numbers in turn.
fn same<'a>(what: &str, found: impl Iterator<Item = (&'a str, i128)>, expected: &'a str) {
    let number = |word: &str| {
        let (sign, digits) = word.strip_prefix('-').map_or((1, word), |rest| (-1, rest));
        let hex = digits
            .strip_prefix("0x")
            .map(|hex| i128::from_str_radix(&hex.replace('_', ""), 16));
        sign * hex.unwrap_or_else(|| digits.parse()).expect("a number")
    };
    let words: Vec<&str> = expected.split_whitespace().collect();
    let mut expected: Vec<_> = words.chunks(2).map(|pair| (pair[0], number(pair[1]))).collect();
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{what}");
}

macro_rules! same_codes {
    ($list:expr, $expected:expr) => {
        same(
            stringify!($list),
            $list.iter().map(|(name, code)| (*name, i128::from(code.0))),
            $expected,
        )
    };
}

fn same_flags<T: Flags>(expected: &str)
where
    T::Bits: Into<i128>,
{
    let named = T::FLAGS.iter().filter(|flag| flag.is_named());
    let found = named.map(|flag| (flag.name(), flag.value().bits().into()));
    same(core::any::type_name::<T>(), found, expected);
    // Bits without a name count as known, and so survive.
    assert_eq!(T::all().bits().into(), i128::from(u32::MAX));
}

#[test]
fn errors() {
    let expected = "EPERM 1  ENOENT 2  ESRCH 3  EINTR 4  EIO 5  ENXIO 6  E2BIG 7  ENOEXEC 8  EBADF 9  ECHILD 10  EDEADLK 11 \
         ENOMEM 12  EACCES 13  EFAULT 14  ENOTBLK 15  EBUSY 16  EEXIST 17  EXDEV 18  ENODEV 19  ENOTDIR 20 \
         EISDIR 21  EINVAL 22  ENFILE 23  EMFILE 24  ENOTTY 25  ETXTBSY 26  EFBIG 27  ENOSPC 28  ESPIPE 29 \
         EROFS 30  EMLINK 31  EPIPE 32  EDOM 33  ERANGE 34  EAGAIN 35  EINPROGRESS 36  EALREADY 37  EMSGSIZE 40 \
         EOPNOTSUPP 45  EADDRINUSE 48  ENETDOWN 50  ECONNABORTED 53  ECONNRESET 54  ENOBUFS 55  EISCONN 56 \
         ENOTCONN 57  ETIMEDOUT 60  ECONNREFUSED 61  ELOOP 62  ENAMETOOLONG 63  ENOSYS 78  EOVERFLOW 84 \
         ENOTSUP 86  ECANCELED 87  EBADMSG 88  ENODATA 89  ETIME 92  EPROTO 96  ERESTART 200  ENOTREADY 201 \
         EDEADSRCDST 202  EDONTREPLY 203  EGENERIC 204  EPACKSIZE 205  EURG 206  ENOURG 207  ELOCKED 208 \
         EBADCALL 209  ECALLDENIED 210  ETRAPDENIED 211  EBADREQUEST 212  EBADMODE 213  ENOCONN 214  EDEADEPT 215 \
         EBADEPT 216  EBADCPU 217";
    let known = Errno::KNOWN
        .iter()
        .map(|(name, errno, _)| (*name, i128::from(errno.number())));
    same("Errno", known, expected);
    assert_eq!(Errno::EWOULDBLOCK, Errno::EAGAIN);
    for (name, errno, meaning) in Errno::KNOWN {
        assert_eq!(errno.to_wire(), -(errno.number() as i32));
        assert_eq!(Errno::from_wire(errno.to_wire()), Some(*errno));
        assert_eq!((errno.name(), errno.meaning()), (Some(*name), Some(*meaning)));
        assert_eq!(errno.to_string(), format!("{meaning} ({name})"));
        assert_eq!(format!("{errno:?}"), *name);
    }
    assert_eq!(Errno::from_wire(0), None);
    assert_eq!(Errno::from_wire(1), None);
    let unknown = Errno::from_wire(-777).unwrap();
    assert_eq!(
        (unknown.to_string(), format!("{unknown:?}")),
        ("error 777".into(), "Errno(777)".into())
    );
    same_codes!(
        Status::PRIVATE,
        "COPY_DESTINATION_FAULT -994  COPY_SOURCE_FAULT -995  VM_SUSPEND -996  IN_PROGRESS -997  SUSPEND -998"
    );
}

#[test]
fn message_types() {
    same_codes!(
        MessageType::KERNEL_CALLS,
        "SYS_CLEAR 0x602  SYS_SCHEDULE 0x603  SYS_PRIVCTL 0x604  SYS_KILL 0x606  SYS_GETKSIG 0x607 \
         SYS_ENDKSIG 0x608  SYS_UMAP 0x60e  SYS_VIRCOPY 0x60f  SYS_PHYSCOPY 0x610  SYS_UMAP_REMOTE 0x611 \
         SYS_VUMAP 0x612  SYS_IRQCTL 0x613  SYS_DEVIO 0x615  SYS_SDEVIO 0x616  SYS_VDEVIO 0x617 \
         SYS_SETALARM 0x618  SYS_TIMES 0x619  SYS_GETINFO 0x61a  SYS_SAFECOPYFROM 0x61f  SYS_SAFECOPYTO 0x620 \
         SYS_VSAFECOPY 0x621  SYS_SETGRANT 0x622  SYS_READBIOS 0x623  SYS_SETTIME 0x628  SYS_VMCTL 0x62b \
         SYS_DIAGCTL 0x62c  SYS_VTIMER 0x62d  SYS_RUNCTL 0x62e  SYS_EXIT 0x635  SYS_STATECTL 0x637 \
         SYS_SAFEMEMSET 0x638"
    );
    same_codes!(
        MessageType::VM_CALLS,
        "VM_BRK 0xc02  VM_MMAP 0xc0a  VM_MAP_PHYS 0xc0f  VM_UNMAP_PHYS 0xc10  VM_MUNMAP 0xc11  VM_GETPHYS 0xc23 \
         VM_INFO 0xc28"
    );
    same_codes!(MessageType::RS, "RS_UP 0x700  RS_INIT 0x714  RS_LU_PREPARE 0x715");
    same_codes!(
        MessageType::COMMON,
        "COMMON_SIGNAL 0xe00  COMMON_GCOV 0xe01  COMMON_FAULT_INJECTION 0xe02"
    );
    same_codes!(
        MessageType::DS_CALLS,
        "DS_PUBLISH 0x800  DS_RETRIEVE 0x801  DS_SUBSCRIBE 0x802  DS_CHECK 0x803  DS_DELETE 0x804 \
         DS_RETRIEVE_LABEL 0x806"
    );
    same_codes!(
        MessageType::BDEV,
        "BDEV_OPEN 0x500  BDEV_CLOSE 0x501  BDEV_READ 0x502  BDEV_WRITE 0x503  BDEV_GATHER 0x504 \
         BDEV_SCATTER 0x505  BDEV_IOCTL 0x506  BDEV_REPLY 0x580"
    );
    same_codes!(MessageType::CDEV, "CDEV_OPEN 0x400  CDEV_REPLY 0x480");
    same_codes!(MessageType::VFS_REQUESTS, "VFS_MAPDRIVER 0x12d");
    same_codes!(
        MessageType::VFS_CALLS,
        "VFS_READ 0x100  VFS_WRITE 0x101  VFS_OPEN 0x103  VFS_CLOSE 0x105  VFS_IOCTL 0x118  VFS_SELECT 0x11e"
    );
    same_codes!(MessageType::PM_CALLS, "PM_EXIT 0x001");
    same_codes!(MessageType::NOTIFICATIONS, "NOTIFY_MESSAGE 0x1000");

    // No number twice, and each found by its name.
    let mut all: Vec<_> = MessageType::FAMILIES.concat();
    all.sort_unstable_by_key(|(_, kind)| *kind);
    assert_eq!(all.len(), 69);
    assert!(all.windows(2).all(|pair| pair[0].1 != pair[1].1));
    for (name, kind) in all {
        assert_eq!(kind.name(), Some(name));
        assert_eq!(format!("{kind:?}"), name);
    }
    assert_eq!(format!("{:?}", MessageType(-5)), "MessageType(-5)");

    let ranges = [0x4FF, 0x500, 0x57F, 0x580].map(|kind| MessageType(kind).is_bdev_request());
    assert_eq!(ranges, [false, true, true, false]);
    let bits = [0x5FF, 0x600, 0x639, 0x63A, i32::MIN].map(|kind| MessageType(kind).kernel_call_index());
    assert_eq!(bits, [None, Some(0), Some(57), None, None]);
}

#[test]
fn endpoints() {
    same_codes!(
        Endpoint::NAMED,
        "ASYNCM -5  IDLE -4  CLOCK -3  SYSTEM -2  HARDWARE -1  PM 0  VFS 1  RS 2  MEM 3  SCHED 4  TTY 5  DS 6 \
         MIB 7  VM 8  PFS 9  MFS 10  INIT 11  ANY 31744  NONE 31743  SELF 31742"
    );
    same_codes!(GrantId::NAMED, "INVALID -1");
}

#[test]
fn traps() {
    same_codes!(TrapVector::NAMED, "IPC 8  KERNEL_CALL 9");
    same_codes!(
        IpcCall::NAMED,
        "SEND 1  RECEIVE 2  SENDREC 3  NOTIFY 4  SENDNB 5  KERNINFO 6  SENDA 16"
    );
    same_flags::<AsyncFlags>("VALID 1  DONE 2  NOTIFY 4  NOREPLY 8  NOTIFY_ERR 0x10");
    assert_eq!(AsyncFlags::EMPTY.bits(), 0);
}

#[test]
fn requests_inside_kernel_calls() {
    same_codes!(IrqRequest::NAMED, "SETPOLICY 1  RMPOLICY 2  ENABLE 3  DISABLE 4");
    same_flags::<IrqPolicy>("REENABLE 1");
    same_codes!(Segment::NAMED, "VIRTUAL 0x1001  GRANT 0x1003");
    same_flags::<MapAccess>("READ 1  WRITE 2");
    same_codes!(
        PrivRequest::NAMED,
        "ALLOW 1  DISALLOW 2  SET_SYS 3  SET_USER 4  ADD_IO 5  ADD_MEM 6  ADD_IRQ 7  QUERY_MEM 8  UPDATE_SYS 9 \
         YIELD 10  CLEAR_IPC_REFS 11"
    );
    same_flags::<PrivFlags>(
        "DYN_PRIV_ID 0x8  SYS_PROC 0x10  CHECK_IO_PORT 0x20  CHECK_IRQ 0x40  CHECK_MEM 0x80  ROOT_SYS 0x100 \
         VM_SYS 0x200  LU_SYS 0x400  RST_SYS 0x800",
    );
    same_codes!(DiagCode::NAMED, "DIAG 1  STACKTRACE 2  REGISTER 3  UNREGISTER 4");
    same_codes!(InfoRequest::NAMED, "KINFO 0  MONPARAMS 4  MACHINE 12  HZ 18  WHOAMI 19");
    same_codes!(
        StateRequest::NAMED,
        "CLEAR_IPC_REFS 1  SET_STATE_TABLE 2  ADD_IPC_BL_FILTER 3  ADD_IPC_WL_FILTER 4  CLEAR_IPC_FILTERS 5"
    );
    same_flags::<GrantFlags>(
        "READ 1  WRITE 2  TRY 0x10  USED 0x100  DIRECT 0x200  INDIRECT 0x400  MAGIC 0x800  VALID 0x1000",
    );
    same_flags::<KernInfoFlags>("IPCVECS 1  USERINFO 2");
}

#[test]
fn servers() {
    same_flags::<Protection>("READ 1  WRITE 2  EXEC 4");
    same_flags::<MapFlags>(
        "SHARED 1  PRIVATE 2  FIXED 0x10  ANON 0x1000  UNINITIALIZED 0x40000  PREALLOC 0x80000  CONTIG 0x100000 \
         LOWER16M 0x200000  LOWER1M 0x400000  THIRDPARTY 0x800000  ALIGNMENT_64KB 0x10000000",
    );
    same_codes!(InitType::NAMED, "FRESH 0  LU 1  RESTART 2");
    same_flags::<InitFlags>(
        "CRASH 1  FAIL 2  TIMEOUT 4  DEFCB 8  SCRIPT_RESTART 0x10  ST 0x20  SELF 0x100  ASR 0x200  MULTI 0x400 \
         INCLUDES_VM 0x800  INCLUDES_RS 0x1000  PREPARE_ONLY 0x2000  NOMMAP 0x4000  DETACHED 0x8000",
    );
    same_codes!(
        LuState::NAMED,
        "NULL 0  WORK_FREE 1  REQUEST_FREE 2  PROTOCOL_FREE 3  EVAL 4  UNREACHABLE 5  PREPARE_CRASH 6"
    );
    same_codes!(FaultKind::NAMED, "CRASH 1");
    same_codes!(
        Signal::NAMED,
        "HUP 1  INT 2  ABRT 6  KILL 9  SEGV 11  ALRM 14  TERM 15  USR1 30  USR2 31  SNDELAY 70  KMESS 72 \
         KSIGSM 73  KSIG 74"
    );
    assert_eq!((Signal::LAST_THROUGH_RS.0, Signal::FIRST_OF_KERNEL.0), (70, 71));
    same_flags::<DsFlags>("U32 0x10  STR 0x20  MEM 0x40  LABEL 0x100  OVERWRITE 0x1000  INITIAL 0x2000");
    assert_eq!(DsFlags::TYPE_MASK.bits(), 0xff0);
    assert_eq!((ds::BLOCK_DRIVER_PREFIX, ds::DRIVER_UP), ("drv.blk.", 1));
    assert_eq!((ds::MIN_KEY_BYTES, ds::MAX_KEY_BYTES), (2, 80));
}

#[test]
fn block_devices() {
    same_flags::<BdevAccess>("READ 1  WRITE 2");
    same_flags::<BdevFlags>("FORCEWRITE 1  NOPAGE 2");
    same_codes!(Descriptor::NAMED, "STDIN 0  STDOUT 1  STDERR 2");
    same_codes!(OpenMode::NAMED, "O_RDONLY 0  O_WRONLY 1  O_RDWR 2");
    same_codes!(IoctlCode::TERMINAL, "TIOCGETA 0x402c7413");
    same_codes!(
        IoctlCode::NAMED,
        "DIOCSETP 0x8020_6403  DIOCGETP 0x4020_6404  DIOCEJECT 0x2000_6405  DIOCTIMEOUT 0xC004_6406 \
         DIOCOPENCT 0x4004_6407  DIOCFLUSH 0x2000_6408  DIOCSETWC 0x8004_6409  DIOCGETWC 0x4004_640A \
         DIOCGCACHE 0x4004_6474  DIOCSCACHE 0x8004_6475  DIOCCACHESYNC 0x8004_6476 \
         DIOCGMEDIASIZE 0x4008_6484  DIOCGSECTORSIZE 0x4004_6485 \
         BIOCTRACEBUF 0x8008_6201  BIOCTRACECTL 0x8004_6202  BIOCTRACEGET 0x5080_0003 \
         VBLKINFO 0x4288_5601  VBLKSTAT 0x47B0_5602  VBLKREGS 0x4218_5603  VBLKQUEUE 0x4C30_5604 \
         VBLKLOG 0x4820_5605  VBLKDISCARD 0xC020_5606  VBLKZERO 0xC020_5607  VBLKERASE 0xC020_5608 \
         VBLKVERSION 0x4004_5609"
    );
    same_flags::<CacheFlags>("READ 1  WRITE 2  READ_CHANGE 0x100  WRITE_CHANGE 0x200  SAVE 0x10000");
    same_codes!(
        TraceRequest::NAMED,
        "OPEN 0  CLOSE 1  READ 2  WRITE 3  GATHER 4  SCATTER 5  IOCTL 6"
    );
    same_codes!(TraceControl::NAMED, "START 0  STOP 1");
    same_codes!(
        SystemId::NAMED,
        "NONE 0  EXTENDED 5  EXTENDED_LBA 0xF  MINIX 0x81  PROTECTIVE 0xEE"
    );
    let extended: Vec<_> = (0..=u8::MAX).filter(|&id| SystemId(id).is_extended()).collect();
    assert_eq!(extended, [5, 15]);
}

#[test]
fn disk_control() {
    same_codes!(
        Kind::NAMED,
        "READ 0  WRITE 1  FLUSH 2  DISCARD 3  ZERO 4  ERASE 5  SCAN 6  IDENTIFY 7  SWITCH 8"
    );
    same_flags::<DiskFlags>(
        "LIVE 1  READ_ONLY 2  CAN_FLUSH 4  WRITE_CACHE 8  CACHE_SWITCH 0x10  DISCARD 0x20  WRITE_ZEROES 0x40 \
         ZEROES_UNMAP 0x80  SECURE_ERASE 0x100  LIFETIME 0x200  ID 0x400  INDIRECT 0x800  GIVEN_UP 0x1000 \
         LEGACY 0x2000",
    );
    same_flags::<QueueFlags>("LIVE 1  EVENT_INDEX 2  INDIRECT 4  FAULT 8  STOPPED 0x10");
    same_flags::<InFlightFlags>("BARRIER 1  BACKGROUND 2  BOUNCE 4  COMPLETED 8");
    same_flags::<RangeFlags>("FORCE 1  UNMAP 2");
    same_codes!(
        EventKind::NAMED,
        "TIMED_OUT 1  MORE_TIMED_OUT 2  RESET 3  RESET_WORKED 4  RESET_FAILED 5  GIVEN_UP 6  REQUEST_GIVEN_UP 7 \
         FLUSH_FAILED 8  FAULT 9  RESIZED 10  REFUSED 11  INTERRUPT_LOST 12  INTERRUPTS_AGAIN 13  NOT_STARTED 14"
    );
    same_codes!(
        ResetReason::NAMED,
        "QUIET 1  LOST_REQUEST 2  BROKEN 3  NOT_ALIVE 4  TAKES_NOTHING 5  TAKES_NO_FLUSH 6"
    );
    same_codes!(
        FaultCode::NAMED,
        "INDEX_JUMP 1  ID_OUT_OF_RANGE 2  NOT_IN_FLIGHT 3  GONE 4  NEEDS_RESET 5"
    );
    assert_eq!((VERSION, SECTOR_BYTES, RangeRequest::ALL), (1, 512, u64::MAX));
    assert_eq!((MINORS, BUCKETS, KINDS), (21, 32, 6));
    assert_eq!((REGISTERS, IN_FLIGHT, EVENTS), (16, 64, 64));
}

#[test]
fn limits() {
    assert_eq!((MAX_ELEMENTS, MAX_RANGES, MAX_COPIES), (64, 64, 64));
    assert_eq!((VECTORS, MAX_NOTIFY_ID, MAX_SAFE_NOTIFY_ID), (128, 63, 30));
    assert_eq!((MAX_HOOKS, MAX_SERVICE_IRQS, MAX_MEM_RANGES), (16, 16, 20));
    assert_eq!((MAX_DIAG_BYTES, NO_ALARM, DEFAULT_HZ), (1999, 0x8000_0000, 1000));
    assert_eq!(Mmap::MAX_CONTIGUOUS_BYTES, 1_048_576);
    assert_eq!((minor::MAJORS, minor::CONTROLLER_MAJORS), (135, [3, 8, 10, 12]));
    assert_eq!((minor::FIRST_SUB_PARTITION, minor::FLOPPY_PARTITIONS), (128, 112));
    assert_eq!((minor::DEVICES_PER_DRIVE, minor::SUB_PARTITIONS_PER_DRIVE), (5, 16));
    assert_eq!((process::MAX_NAME_BYTES, "virtio_blk_mmio".len()), (15, 15));
    assert_eq!((process::MAX_ARGUMENTS, process::MAX_COMMAND_BYTES), (10, 511));
    assert_eq!((process::STACK.start, process::STACK.end), (0xEFC0_0000, 0xF000_0000));
    assert_eq!((process::AUXILIARY_GAP_BYTES, process::RAM_START), (1344, 0x8000_0000));
    let elf = (
        process::ELF_HEADERS_LIMIT,
        process::ELF_PROGRAM_HEADER_BYTES,
        process::IMAGE_LIMIT,
    );
    assert_eq!(elf, (512, 56, 0x1_0000_0000));
    for range in process::RESERVED {
        assert!(
            range.start % 4096 == 0 && range.end % 4096 == 0 && range.start < range.end,
            "{range:x?}"
        );
    }
    assert_eq!(
        (minix_abi::PAGE_BYTES, minix_abi::rs::PROCESS_TABLE_ENTRY_BYTES),
        (4096, 420)
    );
    assert_eq!(minix_abi::grant::MAX_INDIRECTION, 5);
}
