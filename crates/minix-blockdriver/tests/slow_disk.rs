//! A disk that is slow, a disk that loses a request, and a disk that has stopped: three things, told apart.

mod common;

use common::Rig;
use minix_blockdriver::Options;

const SECOND: u64 = 1_000_000;

fn options() -> Options {
    Options {
        flush_after: 0,
        ..Options::default()
    }
}

fn slow<const N: usize>() -> Rig<N> {
    let mut rig = Rig::<N>::with_jobs(options(), |_| {});
    assert_eq!(rig.open(0), 0);
    rig.disk().log.clear();
    rig.disk().automatic = false;
    rig
}

#[test]
fn sixty_reads_on_a_disk_of_one_a_second_are_not_timed_out() {
    let mut rig = slow::<64>();
    let reads: Vec<_> = (0..60).map(|nth| rig.send_read(nth * 3, 1)).collect();
    rig.poll();
    for _ in 0..60 {
        rig.sleep(SECOND);
        if rig.disk().announced > 0 {
            rig.disk().finish(0, Ok(()));
        }
        rig.poll();
    }
    assert_eq!(rig.disk().reset_count, 0);
    let answers: Vec<_> = reads.iter().map(|&id| rig.answer(id)).collect();
    assert_eq!(answers, [Some(512); 60]);
}

#[test]
fn one_lost_completion_under_steady_traffic_is_found() {
    let mut rig = slow::<16>();
    let lost = rig.send_read(0, 1);
    rig.poll();
    rig.disk().lose(0);
    let mut after = 0;
    while rig.disk().reset_count == 0 {
        let other = rig.send_read(10, 1);
        rig.sleep(SECOND / 10);
        rig.disk().finish_all();
        rig.poll();
        assert_eq!(rig.answer(other), Some(512));
        after += 1;
        assert!(after <= 350, "three time-outs and a little more");
    }
    assert!(after >= 300, "{after} tenths of a second");
    rig.settle();
    assert_eq!(rig.answer(lost), Some(512));
    assert_eq!(rig.disk().reset_count, 1);
}
