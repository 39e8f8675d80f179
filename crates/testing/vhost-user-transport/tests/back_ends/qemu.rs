//! QEMU's storage daemon, where it is installed.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use virtio_blk::proto::Sector;
use virtio_blk::{Answer, DeviceFault, DiskOptions, InitError, IoError, Liveness, Request, SubmitError, WriteCache};
use virtio_core::{ConfigError, DeviceGone, DeviceType, Dma, DmaBuffer, InterruptSource, PollLimit};
use virtio_vhost_user::{SessionError, StorageDaemon, VhostUser};

use crate::disk::{Disk, collect, complete, connect, filled, is_filled, start, write_and_verify};

/// A daemon that serves `blockdev`. `None`, with a line that says so, where the program is missing.
fn daemon(blockdev: &str) -> Option<StorageDaemon> {
    if !StorageDaemon::is_installed() {
        eprintln!("skipped: qemu-storage-daemon is missing; it is in the package qemu-utils of Debian and Ubuntu");
        return None;
    }
    Some(StorageDaemon::start(blockdev, 4 << 20).unwrap())
}

/// A daemon on a file.
fn on_file() -> Option<StorageDaemon> {
    daemon("driver=file,filename=IMAGE")
}

#[test]
fn data_written_is_read_back_and_in_the_file() {
    let Some(daemon) = on_file() else { return };
    let (mut disk, mut memory) = start(&daemon.socket());
    assert_eq!(disk.limits().capacity, Sector(8192));
    write_and_verify(&mut disk, &mut memory);
    disk.shut_down(&mut memory, &mut PollLimit::default(), |_| unreachable!())
        .unwrap();
    let file = std::fs::File::open(daemon.image()).unwrap();
    let mut bytes = [0; 4096];
    file.read_exact_at(&mut bytes, 5 * 128 * 512).unwrap();
    assert!(is_filled(&bytes, 5));
}

#[test]
fn a_disk_starts_again_after_a_shut_down() {
    let Some(daemon) = on_file() else { return };
    let (mut disk, mut memory) = start(&daemon.socket());
    for _ in 0..3 {
        write_and_verify(&mut disk, &mut memory);
        let (transport, _) = disk
            .shut_down(&mut memory, &mut PollLimit::default(), |_| unreachable!())
            .unwrap();
        disk = Disk::start(
            transport,
            &mut memory,
            &DiskOptions::default(),
            &mut PollLimit::default(),
        )
        .unwrap();
    }
}

#[test]
fn an_interrupt_wakes_a_driver_that_sleeps() {
    let Some(daemon) = on_file() else { return };
    let (mut disk, mut memory) = start(&daemon.socket());
    for round in 0..20 {
        let mut done = 0;
        disk.drain(|_| done += 1).unwrap();
        let buffer = DmaBuffer::allocate(&mut memory, 4096, 512).unwrap();
        disk.submit(Request::read(Sector(0), buffer, round)).unwrap();
        disk.notify();
        while done == 0 {
            assert!(
                disk.control().transport().wait_for_interrupt(Duration::from_secs(30)),
                "round {round}"
            );
            disk.on_interrupt(InterruptSource::Line, |completion| {
                assert_eq!((completion.token, completion.result), (round, Ok(Answer::Done)));
                memory.release(completion.buffer.unwrap().into_region());
                done += 1;
            })
            .unwrap();
        }
    }
}

#[test]
fn the_write_cache_can_be_switched() {
    let Some(daemon) = on_file() else { return };
    let (mut disk, _memory) = start(&daemon.socket());
    for mode in [WriteCache::WriteBack, WriteCache::WriteThrough, WriteCache::WriteBack] {
        disk.set_write_cache(mode).unwrap();
        assert_eq!(disk.write_cache(), Ok(mode));
    }
}

#[test]
fn a_reset_waits_for_what_the_device_has_begun() {
    // Each request takes a third of a second.
    let Some(daemon) = daemon("driver=null-co,size=4194304,latency-ns=300000000,read-zeroes=on") else {
        return;
    };
    let (mut disk, mut memory) = start(&daemon.socket());
    for token in 0..8 {
        disk.submit(Request::read(Sector(0), filled(&mut memory, 4096, 1), token))
            .unwrap();
    }
    disk.notify();
    // The device takes them, and has them for a while.
    std::thread::sleep(Duration::from_millis(50));
    let mut tokens = Vec::new();
    disk.shut_down(&mut memory, &mut PollLimit::default(), |completion| {
        // None of the memory may change from here on, so what was begun is done.
        if completion.result == Ok(Answer::Done) {
            assert!(completion.buffer.as_ref().unwrap().iter().all(|&byte| byte == 0));
        }
        tokens.push((completion.token, completion.result));
    })
    .unwrap();
    assert_eq!(tokens, Vec::from_iter((0..8).map(|token| (token, Ok(Answer::Done)))));
}

#[test]
fn a_daemon_that_is_killed_and_started_again_is_reached_again() {
    let Some(mut daemon) = on_file() else { return };
    let (mut disk, mut memory) = start(&daemon.socket());
    write_and_verify(&mut disk, &mut memory);

    daemon.kill();
    for token in 0..4 {
        disk.submit(Request::read(Sector(0), filled(&mut memory, 512, 0), token))
            .unwrap();
    }
    // The doorbell cannot tell. A look at the status does, and a look at the configuration stops the queue.
    assert!(disk.notify());
    assert_eq!(disk.poll(|_| unreachable!()), Ok(0));
    assert_eq!(disk.liveness(), Liveness::Gone);
    assert_eq!(disk.write_cache(), Err(DeviceGone));
    assert_eq!(disk.refresh_config(), Err(ConfigError::Gone));
    assert_eq!(disk.poll(|_| unreachable!()), Err(DeviceFault::Gone));
    let late = disk.submit(Request::flush(9)).unwrap_err();
    assert_eq!(late.error, SubmitError::Broken(DeviceFault::Gone));
    let mut lost = Vec::new();
    let (transport, _) = disk
        .shut_down(&mut memory, &mut PollLimit::default(), |completion| {
            lost.push((completion.token, completion.result));
        })
        .unwrap();
    assert_eq!(lost, Vec::from_iter((0..4).map(|token| (token, Err(IoError::Aborted)))));

    // Nothing is there, and the bring-up says so.
    let failed = Disk::start(
        transport,
        &mut memory,
        &DiskOptions::default(),
        &mut PollLimit::default(),
    )
    .unwrap_err();
    assert_eq!(failed.error, InitError::Gone);
    let transport: VhostUser = failed.transport;
    assert!(matches!(transport.last_error(), Some(SessionError::Connect(_))));

    daemon.start_again().unwrap();
    let mut disk = Disk::start(
        transport,
        &mut memory,
        &DiskOptions::default(),
        &mut PollLimit::default(),
    )
    .unwrap();
    let buffer = DmaBuffer::allocate(&mut memory, 4096, 512).unwrap();
    let read = complete(&mut disk, Request::read(Sector(5 * 128), buffer, 5));
    assert!(is_filled(&read.buffer.unwrap(), 5), "what was written is still there");
    write_and_verify(&mut disk, &mut memory);
}

#[test]
fn a_second_connection_is_not_served_before_the_first_ends() {
    let Some(daemon) = on_file() else { return };
    let (mut disk, mut memory) = start(&daemon.socket());
    // It blocks until the first is gone.
    let socket = daemon.socket();
    let waiting = std::thread::spawn(move || {
        let (transport, mut memory) = connect(&socket);
        let mut disk = Disk::start(
            transport,
            &mut memory,
            &DiskOptions::default(),
            &mut PollLimit::default(),
        )
        .unwrap();
        write_and_verify(&mut disk, &mut memory);
    });
    write_and_verify(&mut disk, &mut memory);
    disk.submit(Request::flush(1)).unwrap();
    disk.notify();
    assert_eq!(collect(&mut disk, 1)[0].token, 1);
    assert!(!waiting.is_finished());
    drop(
        disk.shut_down(&mut memory, &mut PollLimit::default(), |_| unreachable!())
            .unwrap(),
    );
    waiting.join().unwrap();
}

#[test]
fn another_type_of_device_is_refused_by_the_driver() {
    let Some(daemon) = on_file() else { return };
    let mut memory = virtio_vhost_user::SharedMemory::new(1 << 20).unwrap();
    let transport = VhostUser::connect(&daemon.socket(), DeviceType(1), &memory).unwrap();
    let failed = Disk::start(
        transport,
        &mut memory,
        &DiskOptions::default(),
        &mut PollLimit::default(),
    )
    .unwrap_err();
    assert!(matches!(failed.error, InitError::NotBlock(DeviceType(1))));
}
