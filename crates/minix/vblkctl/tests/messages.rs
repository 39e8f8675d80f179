//! The program on the messages that it sends to VFS.

use std::cell::Cell;
use std::time::Duration;

use fake_minix::Script;
use fake_minix::host::{readable, writable};
use minix_abi::ioctl::IoctlCode;
use minix_abi::vfs::{Control, Descriptor, OpenPath, Select, TimeValue, Transfer};
use minix_abi::{Endpoint, Errno, Instant, Message, MessageType, Status};
use vblkctl::{Calls, DONE, System};
use zerocopy::FromBytes;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

fn now() -> Instant {
    Instant::from_micros(NOW.get())
}

/// VFS answers a request of this kind.
fn vfs(script: Script, kind: MessageType, look: impl FnOnce(&Message) -> Status + 'static) -> Script {
    script.sendrec(Endpoint::VFS, move |message| {
        assert_eq!(message.kind, kind);
        *message = Message::reply(look(message));
    })
}

#[test]
fn a_command_opens_asks_closes_and_prints() {
    let mut script = vfs(Script::new(), MessageType::VFS_OPEN, |message| {
        let open: OpenPath = message.payload();
        assert_eq!(readable(open.name, open.name_bytes), b"/dev/c0d0p1\0");
        Status(3)
    });
    script = vfs(script, MessageType::VFS_IOCTL, |message| {
        let control: Control = message.payload();
        assert_eq!(
            (control.descriptor, control.code),
            (Descriptor(3), IoctlCode::DIOCGETWC)
        );
        writable(control.argument, 4).copy_from_slice(&1_i32.to_le_bytes());
        Status::OK
    });
    script = vfs(script, MessageType::VFS_CLOSE, |message| {
        assert_eq!(message.body[..4], 3_i32.to_le_bytes());
        Status::OK
    });
    script = vfs(script, MessageType::VFS_WRITE, |message| {
        let transfer: Transfer = message.payload();
        assert_eq!(transfer.descriptor, Descriptor::STDOUT);
        assert_eq!(readable(transfer.buffer, transfer.bytes), b"write cache on\n");
        Status(15)
    });
    let words = ["-d", "/dev/c0d0p1", "cache"];
    assert_eq!(
        vblkctl::run(&mut System::new(&mut script, now), words.into_iter()),
        DONE
    );
    script.over();
}

/// Sleeps five seconds while VFS answers so, each answer after so many seconds; the spans that were asked for.
fn slept(answers: &[(u64, Status)]) -> (Result<(), Errno>, Vec<i64>) {
    NOW.set(1_000_000);
    let asked = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let mut script = Script::new();
    for &(seconds, status) in answers {
        let asked = asked.clone();
        script = vfs(script, MessageType::VFS_SELECT, move |message| {
            let select: Select = message.payload();
            let span = TimeValue::read_from_bytes(readable(select.timeout, 16)).unwrap();
            asked.borrow_mut().push(span.seconds);
            NOW.set(NOW.get() + seconds * 1_000_000);
            status
        });
    }
    let result = System::new(&mut script, now).sleep(Duration::from_secs(5));
    script.over();
    (result, asked.take())
}

#[test]
fn a_sleep_that_is_interrupted_goes_on_for_the_rest() {
    let interrupted = Status::from(Errno::EINTR);
    assert_eq!(slept(&[(5, Status::OK)]), (Ok(()), vec![5]));
    assert_eq!(slept(&[(2, interrupted), (3, Status::OK)]), (Ok(()), vec![5, 3]));
    assert_eq!(slept(&[(2, interrupted), (4, interrupted)]), (Ok(()), vec![5, 3]));
    assert_eq!(slept(&[(0, Errno::EINVAL.into())]), (Err(Errno::EINVAL), vec![5]));
}

#[test]
fn a_sleep_outlasts_any_number_of_signals() {
    let interrupted = Status::from(Errno::EINTR);
    // Four of them at the same moment, then one a second.
    let mut answers = vec![(0, interrupted); 4];
    answers.extend([(1, interrupted); 5]);
    assert_eq!(slept(&answers), (Ok(()), vec![5, 5, 5, 5, 5, 4, 3, 2, 1]));
}

#[test]
fn an_output_that_is_interrupted_or_taken_in_parts_is_written_once() {
    let written = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let mut script = vfs(Script::new(), MessageType::VFS_OPEN, |_| Status(3));
    script = vfs(script, MessageType::VFS_IOCTL, |message| {
        let control: Control = message.payload();
        writable(control.argument, 4).copy_from_slice(&0_i32.to_le_bytes());
        Status::OK
    });
    script = vfs(script, MessageType::VFS_CLOSE, |_| Status::OK);
    // The text has 16 bytes: of each call VFS takes so many.
    for taken in [None, Some(1), None, None, Some(7), Some(8)] {
        let written = written.clone();
        script = vfs(script, MessageType::VFS_WRITE, move |message| {
            let transfer: Transfer = message.payload();
            match taken {
                None => Errno::EINTR.into(),
                Some(count) => {
                    written.borrow_mut().extend(readable(transfer.buffer, count));
                    Status(count as i32)
                }
            }
        });
    }
    let status = vblkctl::run(&mut System::new(&mut script, now), ["cache"].into_iter());
    assert_eq!((status, written.take()), (DONE, b"write cache off\n".to_vec()));
    script.over();
}

#[test]
fn a_read_that_is_interrupted_is_made_again() {
    let mut script = Script::new();
    for _ in 0..3 {
        script = vfs(script, MessageType::VFS_READ, |_| Errno::EINTR.into());
    }
    script = vfs(script, MessageType::VFS_READ, |message| {
        let transfer: Transfer = message.payload();
        writable(transfer.buffer, 2).copy_from_slice(b"y\n");
        Status(2)
    });
    let mut line = [0; 8];
    let length = System::new(&mut script, now).read(Descriptor::STDIN, &mut line);
    assert_eq!((length, &line[..2]), (Ok(2), &b"y\n"[..]));
    script.over();
}

#[test]
fn a_terminal_is_a_file_that_has_settings() {
    for (status, is_one) in [(Status::OK, true), (Errno::ENOTTY.into(), false)] {
        let mut script = vfs(Script::new(), MessageType::VFS_IOCTL, move |message| {
            let control: Control = message.payload();
            assert_eq!(
                (control.descriptor, control.code),
                (Descriptor::STDIN, IoctlCode::TIOCGETA)
            );
            status
        });
        assert_eq!(System::new(&mut script, now).is_terminal(Descriptor::STDIN), is_one);
        script.over();
    }
}
