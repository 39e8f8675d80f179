//! The device of `vhost-user-disk`, which is there wherever the tests are.

use std::path::Path;
use std::thread::JoinHandle;

use vhost::vhost_user::Listener;
use vhost_user_disk::{Behaviour, Image, Report, serve};
use virtio_blk::Liveness;
use virtio_core::{DeviceStatus, DeviceType, PollLimit, Transport};
use virtio_vhost_user::{SessionError, SharedMemory, VhostUser};

use crate::disk::{connect, start, write_and_verify};

/// Serves `connections` connections one after the other, and answers with their reports.
fn served(directory: &Path, behaviour: Behaviour, connections: usize) -> JoinHandle<Vec<Report>> {
    let image = directory.join("disk.raw");
    std::fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
    let listeners: Vec<_> = (0..connections)
        .map(|number| Listener::new(directory.join(format!("{number}.sock")), true).unwrap())
        .collect();
    std::thread::spawn(move || {
        let disk = || vhost_user_disk::Disk::new(Image::open(&image, false).unwrap(), behaviour.clone());
        listeners.into_iter().map(|l| serve(disk(), l).unwrap()).collect()
    })
}

#[test]
fn data_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let back_end = served(directory.path(), Behaviour::default(), 1);
    let (mut disk, mut memory) = start(&directory.path().join("0.sock"));
    write_and_verify(&mut disk, &mut memory);
    let (transport, counters) = disk
        .shut_down(&mut memory, &mut PollLimit::default(), |_| unreachable!())
        .unwrap();
    assert_eq!(counters.queue.odd_lengths, 0);
    drop(transport);
    let reports = back_end.join().unwrap();
    assert!(reports[0].is_clean(), "{:?}", reports[0]);
}

#[test]
fn a_reset_ends_the_connection_and_status_follows() {
    let directory = tempfile::tempdir().unwrap();
    let back_end = served(directory.path(), Behaviour::default(), 1);
    let (mut disk, mut memory) = start(&directory.path().join("0.sock"));
    assert_eq!(disk.liveness(), Liveness::Live);
    write_and_verify(&mut disk, &mut memory);
    let (transport, _) = disk
        .shut_down(&mut memory, &mut PollLimit::default(), |_| unreachable!())
        .unwrap();
    assert_eq!(transport.status(), Ok(DeviceStatus::RESET));
    // The back-end has ended because the connection has, not because the transport is gone.
    back_end.join().unwrap();
    drop(transport);
}

#[test]
fn an_untouched_connection_survives_a_reset() {
    let directory = tempfile::tempdir().unwrap();
    let back_end = served(directory.path(), Behaviour::default(), 1);
    let (mut transport, _memory) = connect(&directory.path().join("0.sock"));
    transport.write_status(DeviceStatus::RESET);
    assert_eq!(transport.status(), Ok(DeviceStatus::RESET));
    assert!(!transport.offered_features().unwrap().is_empty());
    drop(transport);
    back_end.join().unwrap();
}

#[test]
fn without_a_back_end_there_is_no_transport() {
    let directory = tempfile::tempdir().unwrap();
    let memory = SharedMemory::new(4096).unwrap();
    let missing = VhostUser::connect(&directory.path().join("none"), DeviceType::BLOCK, &memory);
    assert!(matches!(missing, Err(SessionError::Connect(_))), "{missing:?}");
}
