//! A disk that changes its size while it is open.

mod common;

use common::{Op, Rig, SECTORS, sector_byte, sectors, wire};
use minix_abi::{Errno, MessageType};
use minix_blockdriver::{Broken, DriverOptions};

const END: u64 = SECTORS * 512;

fn resize(rig: &mut Rig, count: u64) {
    let disk = rig.disk();
    disk.info.sectors = count;
    disk.content = (0..count.max(SECTORS))
        .flat_map(|nth| [sector_byte(nth); 512])
        .collect();
}

#[test]
fn a_disk_that_grew_while_it_is_open_is_used_at_once() {
    let mut rig = Rig::opened();
    resize(&mut rig, 2 * SECTORS);
    assert_eq!(rig.partition(0), (0, 2 * END));
    assert_eq!(rig.read(0, END + 512, 1024), (1024, sectors(SECTORS + 1, 2)));
    assert_eq!(rig.read(0, 2 * END - 512, 1024).0, 512);
}

#[test]
fn a_disk_that_shrank_while_it_is_open_ends_where_it_ends_now() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(1), 0);
    resize(&mut rig, 100);
    assert_eq!(rig.partition(0), (0, 100 * 512));
    assert_eq!(rig.read(0, 100 * 512, 512).0, 0);
    assert_eq!(rig.read(0, 99 * 512, 2048).0, 512);
}

#[test]
fn waiting_requests_end_at_the_new_end_of_a_shrunk_disk() {
    let mut rig = Rig::opened();
    let over = rig.send_read(98, 4);
    let beyond = rig.send_read(200, 1);
    let write = rig.send_write(99, 2, 0x77);
    let inside = rig.send_read(10, 1);
    resize(&mut rig, 100);
    rig.settle();
    let answers = [over, beyond, write, inside].map(|id| rig.answer(id));
    assert_eq!(answers, [Some(1024), Some(0), Some(512), Some(512)]);
}

#[test]
fn requests_in_flight_end_at_the_new_end_of_a_shrunk_disk() {
    for most in [1, 64] {
        let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.max_segments = most);
        rig.disk().automatic = false;
        let over = rig.send_read(90, 40);
        let beyond = rig.send_write(200, 3, 1);
        rig.poll();
        resize(&mut rig, 100);
        rig.settle();
        assert_eq!([over, beyond].map(|id| rig.answer(id)), [Some(5120), Some(0)], "{most}");
    }
}

#[test]
fn merged_requests_end_at_the_new_end_of_a_shrunk_disk() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let ids = [98, 99, 100, 101].map(|sector| rig.send_read(sector, 1));
    rig.poll();
    assert_eq!(rig.disk().ops(), [(Op::Read, 98, 4)]);
    resize(&mut rig, 100);
    rig.settle();
    assert_eq!(ids.map(|id| rig.answer(id)), [Some(512), Some(512), Some(0), Some(0)]);
}

#[test]
fn bounced_memory_ends_where_the_disk_does_too() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.unreachable_from = 0);
    rig.disk().automatic = false;
    let (request, buffer) = rig.read_request(0, 90 * 512, 40 * 512);
    let over = rig.send(MessageType::BDEV_READ, request);
    rig.poll();
    resize(&mut rig, 100);
    rig.settle();
    assert_eq!(rig.answer(over), Some(5120));
    assert!(rig.bytes(buffer)[..5120] == sectors(90, 10));
}

#[test]
fn a_disk_that_is_smaller_after_a_reset_is_no_error() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    let over = rig.send_read(98, 4);
    rig.poll();
    rig.disk().resets = [Err(Broken)].into();
    rig.disk().broken = true;
    rig.poll();
    resize(&mut rig, 100);
    rig.sleep(DriverOptions::default().reset_pause);
    rig.settle();
    assert_eq!(rig.answer(over), Some(1024));
}

#[test]
fn an_error_within_the_disk_is_one_after_it_shrank_too() {
    let mut rig = Rig::opened();
    rig.disk().automatic = false;
    rig.disk().bad_sectors = vec![99];
    let over = rig.send_read(98, 4);
    rig.poll();
    resize(&mut rig, 100);
    rig.settle();
    assert_eq!(rig.answer(over), Some(wire(Errno::EIO)));
}

#[test]
fn partitions_keep_their_size_and_are_cut_at_the_disk_end() {
    let table = |disk: &mut common::FakeDisk| {
        disk.content[446..462].copy_from_slice(&[0, 0, 0, 0, 6, 0, 0, 0, 100, 0, 0, 0, 50, 0, 0, 0]);
        disk.content[510..512].copy_from_slice(&[0x55, 0xAA]);
    };
    let mut rig = Rig::opened_with(DriverOptions::default(), table);
    assert_eq!(rig.open(1), 0);
    assert_eq!(rig.partition(1), (100 * 512, 50 * 512));
    resize(&mut rig, 2 * SECTORS);
    assert_eq!(rig.partition(1), (100 * 512, 50 * 512), "no larger on a larger disk");
    resize(&mut rig, 120);
    assert_eq!(rig.partition(1), (100 * 512, 20 * 512));
    assert_eq!(rig.read(1, 19 * 512, 1024).0, 512);
    assert_eq!(rig.read(1, 20 * 512, 512).0, 0);
    resize(&mut rig, 90);
    assert_eq!(rig.partition(1), (100 * 512, 0));
    assert_eq!(rig.read(1, 0, 512).0, 0);
    resize(&mut rig, SECTORS);
    assert_eq!(rig.partition(1), (100 * 512, 50 * 512), "it comes back with the disk");
}

#[test]
fn a_minor_that_a_client_put_somewhere_stays_there() {
    let mut rig = Rig::opened();
    rig.set_partition(0, 512, 4 * 512);
    resize(&mut rig, 2 * SECTORS);
    assert_eq!(rig.partition(0), (512, 4 * 512));
    let (status, data) = rig.read(0, 3 * 512, 1024);
    assert!(status == 512 && data[..512] == sectors(4, 1));
    // The next first open forgets it.
    assert_eq!((rig.close(0), rig.open(0)), (0, 0));
    assert_eq!(rig.partition(0), (0, 2 * END));
}
