//! `flush`, `cache` and `timeout`.

use minix_abi::Errno;
use minix_abi::ioctl::IoctlCode;
use vblkctl::FAILED;
use zerocopy::IntoBytes;

use crate::info::disk;
use crate::script::Script;

#[test]
fn flush_is_one_request_and_prints_nothing() {
    let text = Script::default().answer(IoctlCode::DIOCFLUSH, Ok(&[])).printed("flush");
    assert_eq!(text, "");
}

#[test]
fn cache_switches_and_tells_what_came_of_it() {
    let cases: [(&str, Option<i32>, i32, &str); 5] = [
        ("cache", None, 1, "write cache on\n"),
        ("cache", None, 0, "write cache off\n"),
        ("cache on", Some(1), 1, "write cache on\n"),
        ("cache off", Some(0), 0, "write cache off\n"),
        // It did not do as it was told.
        ("cache off", Some(0), 1, "write cache on\n"),
    ];
    for (line, switch, told, text) in cases {
        let mut script = Script::default()
            .answer(IoctlCode::DIOCSETWC, Ok(&[]))
            .report(IoctlCode::DIOCGETWC, &told);
        script.run(line);
        assert_eq!((script.out(), script.err()), (text, ""), "{line}");
        let switched: Vec<_> = script
            .asked
            .iter()
            .filter(|(code, _)| *code == IoctlCode::DIOCSETWC)
            .map(|(_, argument)| argument.clone())
            .collect();
        assert_eq!(switched, Vec::from_iter(switch.map(|on| on.as_bytes().to_vec())));
    }
}

#[test]
fn timeout_is_set_in_ticks_and_told_before_and_after() {
    for (millis, ticks) in [(1, 1_i32), (2000, 2000), (2_147_483_647, i32::MAX)] {
        let mut later = disk();
        later.disk.timeout_ms = 2345;
        let mut script = Script::default()
            .report(IoctlCode::VBLKINFO, &disk())
            .report(IoctlCode::VBLKINFO, &later)
            .answer(IoctlCode::DIOCTIMEOUT, Ok(&[]));
        script.run(&format!("timeout {millis}"));
        assert_eq!((script.out(), script.err()), ("time-out 2345 ms, before 7000 ms\n", ""));
        let codes = [IoctlCode::VBLKINFO, IoctlCode::DIOCTIMEOUT, IoctlCode::VBLKINFO];
        assert_eq!(script.codes(), codes);
        assert_eq!(script.asked[1].1, ticks.as_bytes());
    }
}

#[test]
fn a_timeout_whose_outcome_is_not_told_is_a_failure() {
    let mut script = Script::default()
        .report(IoctlCode::VBLKINFO, &disk())
        .answer(IoctlCode::VBLKINFO, Err(Errno::EIO))
        .answer(IoctlCode::DIOCTIMEOUT, Ok(&[]));
    assert_eq!((script.run("timeout 5"), script.out()), (FAILED, ""));
    let why = "cannot ask the service: input/output error (EIO)";
    assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"));
    assert_eq!(script.closed, 1);
}

#[test]
fn what_a_disk_cannot_do_is_told_in_words() {
    let cases = [
        (
            "flush",
            IoctlCode::DIOCFLUSH,
            Errno::EOPNOTSUPP,
            "the device has no volatile write cache to flush",
        ),
        (
            "flush",
            IoctlCode::DIOCFLUSH,
            Errno::EIO,
            "cannot flush: input/output error (EIO)",
        ),
        (
            "cache on",
            IoctlCode::DIOCSETWC,
            Errno::EOPNOTSUPP,
            "the device has no write cache that can be switched",
        ),
        (
            "cache off",
            IoctlCode::DIOCSETWC,
            Errno::EIO,
            "cannot switch the write cache: input/output error (EIO)",
        ),
        (
            "cache",
            IoctlCode::DIOCGETWC,
            Errno::EIO,
            "cannot ask for the write cache: input/output error (EIO)",
        ),
        (
            "timeout 5",
            IoctlCode::DIOCTIMEOUT,
            Errno::EINVAL,
            "cannot set the time-out: invalid argument (EINVAL)",
        ),
        (
            "trace",
            IoctlCode::BIOCTRACEBUF,
            Errno::EBUSY,
            "a trace is there already: vblkctl trace --reset ends it",
        ),
        (
            "trace -n 99999999",
            IoctlCode::BIOCTRACEBUF,
            Errno::EINVAL,
            "no memory for a trace of so many entries: use a smaller -n",
        ),
        (
            "trace",
            IoctlCode::BIOCTRACEBUF,
            Errno::ENOMEM,
            "no memory for a trace of so many entries: use a smaller -n",
        ),
    ];
    for (line, code, errno, why) in cases {
        let mut script = Script::default()
            .report(IoctlCode::VBLKINFO, &disk())
            .answer(code, Err(errno));
        assert_eq!((script.run(line), script.out()), (FAILED, ""), "{line}");
        assert_eq!(script.err(), format!("vblkctl: /dev/c0d0: {why}\n"), "{line}");
        assert_eq!(script.closed, 1, "{line}");
    }
}
