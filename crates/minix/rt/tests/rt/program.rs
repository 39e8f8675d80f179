//! The calls of a program, message by message.

use core::time::Duration;

use minix_abi::ioctl::{IoctlCode, PartGeom};
use minix_abi::pm::Exit;
use minix_abi::vfs::{Close, Control, Descriptor, OpenMode, OpenPath, Select, TimeValue, Transfer};
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use minix_rt::program;
use zerocopy::{FromBytes, IntoBytes};

use fake_minix::host::{readable, writable};
use fake_minix::{Ended, Script};

const FILE: Descriptor = Descriptor(3);

fn answer(message: &mut Message, status: impl Into<Status>) {
    *message = Message::reply(status.into());
}

/// VFS answers a request of this kind.
fn vfs(script: Script, kind: MessageType, look: impl FnOnce(&Message) -> Status + 'static) -> Script {
    script.sendrec(Endpoint::VFS, move |message| {
        assert_eq!(message.kind, kind);
        let status = look(message);
        answer(message, status);
    })
}

#[test]
fn a_file_is_opened_by_its_name() {
    let mut script = vfs(Script::new(), MessageType::VFS_OPEN, |message| {
        let open: OpenPath = message.payload();
        assert_eq!((open.mode, open.permissions), (OpenMode::O_RDWR, 0));
        assert_eq!(readable(open.name, open.name_bytes), b"/dev/c0d0\0");
        assert_eq!(open.text[..11], *b"/dev/c0d0\0\0");
        Status(3)
    });
    script.extend(vfs(Script::new(), MessageType::VFS_OPEN, |_| Errno::ENOENT.into()));
    assert_eq!(program::open(&mut script, c"/dev/c0d0", OpenMode::O_RDWR), Ok(FILE));
    let missing = program::open(&mut script, c"/dev/none", OpenMode::O_RDONLY);
    assert_eq!(missing, Err(Errno::ENOENT));
    script.over();
}

#[test]
fn bytes_are_read_and_written_in_place() {
    let mut script = vfs(Script::new(), MessageType::VFS_READ, |message| {
        let transfer: Transfer = message.payload();
        assert_eq!(
            (transfer.descriptor, transfer.bytes, transfer.done),
            (Descriptor::STDIN, 8, 0)
        );
        writable(transfer.buffer, 3).copy_from_slice(b"yes");
        Status(3)
    });
    script.extend(vfs(Script::new(), MessageType::VFS_WRITE, |message| {
        let transfer: Transfer = message.payload();
        assert_eq!(transfer.descriptor, Descriptor::STDOUT);
        assert_eq!(readable(transfer.buffer, transfer.bytes), b"some");
        Status(2)
    }));
    script.extend(vfs(Script::new(), MessageType::VFS_CLOSE, |message| {
        assert_eq!(
            message.payload::<Close>(),
            Close {
                descriptor: FILE,
                no_wait: 0
            }
        );
        Status::OK
    }));
    let mut bytes = [0; 8];
    assert_eq!(program::read(&mut script, Descriptor::STDIN, &mut bytes), Ok(3));
    assert_eq!(&bytes, b"yes\0\0\0\0\0");
    assert_eq!(program::write(&mut script, Descriptor::STDOUT, b"some"), Ok(2));
    assert_eq!(program::close(&mut script, FILE), Ok(()));
    script.over();
}

#[test]
fn more_than_was_asked_for_is_an_error() {
    for kind in [MessageType::VFS_READ, MessageType::VFS_WRITE] {
        let mut script = vfs(Script::new(), kind, |_| Status(5));
        let result = if kind == MessageType::VFS_READ {
            program::read(&mut script, FILE, &mut [0; 4])
        } else {
            program::write(&mut script, FILE, &[0; 4])
        };
        assert_eq!(result, Err(Errno::EIO), "{kind:?}");
    }
}

/// Writes `wise men` while VFS answers so; what was offered each time.
fn written(answers: &'static [Status]) -> (Result<(), Errno>, usize) {
    let mut script = Script::new();
    let mut offered: &[u8] = b"wise men";
    for &status in answers {
        let expected = offered;
        script.extend(vfs(Script::new(), MessageType::VFS_WRITE, move |message| {
            let transfer: Transfer = message.payload();
            assert_eq!(readable(transfer.buffer, transfer.bytes), expected);
            status
        }));
        offered = &offered[status.result().unwrap_or(0) as usize..];
    }
    let result = program::write_all(&mut script, Descriptor::STDERR, b"wise men");
    script.over();
    (result, offered.len())
}

#[test]
fn all_bytes_are_written_over_interruptions() {
    assert_eq!(written(&[Status(8)]), (Ok(()), 0));
    assert_eq!(written(&[Status(5), Status(-4), Status(3)]), (Ok(()), 0));
    assert_eq!(written(&[Status(5), Status(0)]), (Err(Errno::EIO), 3));
    assert_eq!(written(&[Status(-32)]), (Err(Errno::EPIPE), 8));
}

#[test]
fn the_driver_gets_the_argument_of_a_control_request() {
    let mut script = vfs(Script::new(), MessageType::VFS_IOCTL, |message| {
        let control: Control = message.payload();
        assert_eq!((control.descriptor, control.code), (FILE, IoctlCode::DIOCGETP));
        let geometry = PartGeom::made_up(0, 1 << 20);
        writable(control.argument, 32).copy_from_slice(geometry.as_bytes());
        Status(7)
    });
    script.extend(vfs(Script::new(), MessageType::VFS_IOCTL, |message| {
        let control: Control = message.payload();
        assert_eq!(control.code, IoctlCode::DIOCFLUSH);
        Errno::EOPNOTSUPP.into()
    }));
    let mut argument = [0; 32];
    let told = program::control(&mut script, FILE, IoctlCode::DIOCGETP, &mut argument);
    assert_eq!(told, Ok(7));
    assert_eq!(PartGeom::read_from_bytes(&argument).unwrap().bytes, 1 << 20);
    let flushed = program::control(&mut script, FILE, IoctlCode::DIOCFLUSH, &mut []);
    assert_eq!(flushed, Err(Errno::EOPNOTSUPP));
    script.over();
}

#[test]
fn an_argument_of_another_length_is_not_sent() {
    let mut script = Script::new();
    for bytes in [0, 31, 33] {
        let result = program::control(&mut script, FILE, IoctlCode::DIOCGETP, &mut vec![0; bytes]);
        assert_eq!(result, Err(Errno::EINVAL), "{bytes}");
    }
}

#[test]
fn a_terminal_is_the_file_that_has_settings() {
    for (status, expected) in [(Status::OK, true), (Errno::ENOTTY.into(), false)] {
        let mut script = vfs(Script::new(), MessageType::VFS_IOCTL, move |message| {
            let control: Control = message.payload();
            assert_eq!((control.descriptor, control.code.0), (Descriptor::STDIN, 0x402C_7413));
            writable(control.argument, 44).fill(7);
            status
        });
        assert_eq!(program::is_terminal(&mut script, Descriptor::STDIN), expected);
        script.over();
    }
}

#[test]
fn sleep_selects_nothing_for_a_while() {
    let mut script = vfs(Script::new(), MessageType::VFS_SELECT, |message| {
        let select: Select = message.payload();
        let timeout = TimeValue::read_from_bytes(readable(select.timeout, 16)).unwrap();
        assert_eq!((timeout.seconds, timeout.micros), (2, 500_000));
        assert_eq!(
            select,
            Select {
                timeout: select.timeout,
                ..Select::default()
            }
        );
        Status::OK
    });
    script.extend(vfs(Script::new(), MessageType::VFS_SELECT, |_| Errno::EINTR.into()));
    assert_eq!(program::sleep(&mut script, Duration::from_millis(2500)), Ok(()));
    assert_eq!(program::sleep(&mut script, Duration::from_secs(1)), Err(Errno::EINTR));
    script.over();
}

#[test]
fn the_end_of_a_program_is_told_to_pm() {
    let mut script = Script::new()
        .sendrec(Endpoint::PM, |message| answer(message, Errno::ELOCKED))
        .sendrec(Endpoint::PM, |message| {
            assert_eq!(
                (message.kind, message.payload::<Exit>().status),
                (MessageType::PM_EXIT, 101)
            );
            std::panic::panic_any(Ended)
        });
    script.ends(|script| program::exit(script, 101));
}
