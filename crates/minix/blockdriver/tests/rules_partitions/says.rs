//! What a scan logs.

use core::cell::RefCell;

use crate::disk::Disk;
use crate::gpt::GptPlan;

std::thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// The lines of one scan.
fn lines(disk: &Disk, block_bytes: u32) -> Vec<String> {
    // The second test to come finds the logger there already.
    let _ = log::set_logger(&Lines);
    log::set_max_level(log::LevelFilter::Trace);
    LINES.take();
    disk.scan(block_bytes);
    LINES.take()
}

const FREE: (u8, u32, u32) = (0, 0, 0);

#[test]
fn a_damaged_gpt_is_told_in_one_line() {
    let plan = GptPlan::usual(&[Some((5000, 5999))]);
    let mut disk = plan.disk();
    assert_eq!(lines(&disk, 512), [] as [&str; 0]);
    disk.sector(1).fill(0);
    assert_eq!(
        lines(&disk, 512),
        ["the first copy of the GUID partition table is damaged: the backup is used"]
    );
    disk.sector((1 << 20) - 1).fill(0);
    assert_eq!(
        lines(&disk, 512),
        ["both copies of the GUID partition table are damaged: none of its partitions is offered"]
    );
}

#[test]
fn the_unit_of_a_table_is_told_unless_it_is_a_sector() {
    let disk = Disk::new(1000).table(0, [(0x83, 1, 10), FREE, FREE, FREE]);
    assert_eq!(lines(&disk, 512), [] as [&str; 0]);
    assert_eq!(lines(&disk, 4096), ["the partition table counts blocks of 4096 bytes"]);
}
