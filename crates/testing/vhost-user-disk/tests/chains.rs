//! Chains as drivers build them, in the queue that `virtio-queue` has for tests, on devices with each behaviour.

use std::os::unix::fs::FileExt;

use vhost_user_disk::{Behaviour, Disk, Image, Report, SECTOR_BYTES, UsedLength};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_bindings::virtio_ring::VRING_DESC_F_WRITE;
use virtio_queue::desc::RawDescriptor;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::mock::MockSplitQueue;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SECTORS: u64 = 16;
const HEADER: u64 = 0x1_0000;
const STATUS: u64 = 0x1_1000;
const FIRST: u64 = 0x2_0000;
const SECOND: u64 = 0x3_0000;
/// The content of memory before a request.
const UNTOUCHED: u8 = 0xEE;

/// A disk of sixteen sectors, each filled with its number and 100, and memory to make requests in.
struct Bench {
    memory: GuestMemoryMmap,
    file: tempfile::NamedTempFile,
    disk: Disk,
}

impl Bench {
    fn new(behaviour: Behaviour) -> Bench {
        let file = tempfile::NamedTempFile::new().unwrap();
        for sector in 0..SECTORS {
            let bytes = [100 + sector as u8; SECTOR_BYTES as usize];
            file.as_file().write_all_at(&bytes, sector * SECTOR_BYTES).unwrap();
        }
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x4_0000)]).unwrap();
        memory
            .write_slice(&[UNTOUCHED; 0x3_0000], GuestAddress(0x1_0000))
            .unwrap();
        let image = Image::open(file.path(), behaviour.read_only).unwrap();
        let disk = Disk::new(image, behaviour);
        Bench { memory, file, disk }
    }

    /// Carries out a request with these data descriptors (address, bytes, writable); returns the length for the used ring.
    fn request(&mut self, kind: u32, sector: u64, data: &[(u64, u32, bool)]) -> u32 {
        self.memory.write_obj(kind, GuestAddress(HEADER)).unwrap();
        self.memory.write_obj(0_u32, GuestAddress(HEADER + 4)).unwrap();
        self.memory.write_obj(sector, GuestAddress(HEADER + 8)).unwrap();
        let mut chain = vec![(HEADER, 16, false)];
        chain.extend(data);
        chain.push((STATUS, 1, true));
        self.chain(&chain)
    }

    fn chain(&mut self, chain: &[(u64, u32, bool)]) -> u32 {
        let descriptor = |&(address, bytes, writable): &(u64, u32, bool)| {
            let flags = if writable { VRING_DESC_F_WRITE as u16 } else { 0 };
            RawDescriptor::from(Descriptor::new(address, bytes, flags, 0))
        };
        let chain: Vec<RawDescriptor> = chain.iter().map(descriptor).collect();
        let queue = MockSplitQueue::new(&self.memory, 16);
        self.disk.serve(queue.build_desc_chain(&chain).unwrap())
    }

    fn byte(&self, address: u64) -> u8 {
        self.memory.read_obj(GuestAddress(address)).unwrap()
    }

    fn sector_on_disk(&self, sector: u64) -> u8 {
        let mut byte = [0];
        self.file
            .as_file()
            .read_exact_at(&mut byte, sector * SECTOR_BYTES)
            .unwrap();
        byte[0]
    }

    fn report(&self) -> &Report {
        self.disk.report()
    }
}

fn one_segment() -> Bench {
    Bench::new(Behaviour {
        one_segment: true,
        ..Behaviour::default()
    })
}

#[test]
fn a_plain_device_moves_every_segment() {
    let mut bench = Bench::new(Behaviour::default());
    // Segments may end inside sectors.
    assert_eq!(
        bench.request(VIRTIO_BLK_T_IN, 3, &[(FIRST, 500, true), (SECOND, 524, true)]),
        1025
    );
    let seen = [FIRST + 499, FIRST + 500, SECOND + 11, SECOND + 12, STATUS].map(|at| bench.byte(at));
    assert_eq!(seen, [103, UNTOUCHED, 103, 104, 0]);
    assert_eq!(
        bench.request(VIRTIO_BLK_T_IN, 3, &[(FIRST, 512, true), (SECOND, 1024, true)]),
        1537
    );
    let seen = [FIRST, FIRST + 512, SECOND, SECOND + 512, SECOND + 1024].map(|at| bench.byte(at));
    assert_eq!(seen, [103, UNTOUCHED, 104, 105, UNTOUCHED]);
    assert_eq!(
        bench.request(VIRTIO_BLK_T_OUT, 8, &[(SECOND, 1024, false), (FIRST, 512, false)]),
        1
    );
    assert_eq!(
        [7, 8, 9, 10, 11].map(|at| bench.sector_on_disk(at)),
        [107, 104, 105, 103, 111]
    );
    let report = bench.report();
    assert_eq!((report.reads, report.writes), (2, 1));
    assert_eq!((report.most_data_descriptors, report.violations), (2, 0));
}

#[test]
fn the_status_may_follow_data_in_its_descriptor() {
    let mut bench = Bench::new(Behaviour::default());
    bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]);
    bench.memory.write_obj(VIRTIO_BLK_T_IN, GuestAddress(HEADER)).unwrap();
    assert_eq!(bench.chain(&[(HEADER, 16, false), (FIRST, 513, true)]), 513);
    assert_eq!(
        [FIRST, FIRST + 511, FIRST + 512].map(|at| bench.byte(at)),
        [100, 100, 0]
    );
}

#[test]
fn one_segment_serves_one_data_descriptor() {
    let mut bench = one_segment();
    assert_eq!(bench.request(VIRTIO_BLK_T_IN, 3, &[(FIRST, 1024, true)]), 1025);
    assert_eq!([FIRST, FIRST + 512, STATUS].map(|at| bench.byte(at)), [103, 104, 0]);
    assert_eq!(bench.request(VIRTIO_BLK_T_OUT, 5, &[(FIRST, 512, false)]), 1);
    assert_eq!(bench.sector_on_disk(5), 103);
    assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]), 1);
    assert!(bench.report().is_clean());
    assert_eq!(bench.report().most_data_descriptors, 1);
}

#[test]
fn with_one_segment_the_second_piece_of_a_read_is_the_status() {
    let mut bench = one_segment();
    assert_eq!(
        bench.request(VIRTIO_BLK_T_IN, 3, &[(FIRST, 512, true), (SECOND, 512, true)]),
        513
    );
    // Its first byte is overwritten, the rest and the status of the driver stay.
    let seen = [FIRST, SECOND, SECOND + 1, STATUS].map(|at| bench.byte(at));
    assert_eq!(seen, [103, 0, UNTOUCHED, UNTOUCHED]);
    assert_eq!(bench.report().violations, 1);
    assert_eq!(
        bench.report().described,
        ["a chain has 2 data descriptors, the device takes one"]
    );
}

#[test]
fn one_segment_returns_a_write_of_two_pieces_undone() {
    let mut bench = one_segment();
    assert_eq!(
        bench.request(VIRTIO_BLK_T_OUT, 3, &[(FIRST, 512, false), (SECOND, 512, false)]),
        0
    );
    assert_eq!((bench.byte(STATUS), bench.sector_on_disk(3)), (UNTOUCHED, 103));
    assert!(!bench.report().is_clean());
    assert_eq!(bench.report().writes, 0);
}

#[test]
fn used_lengths_reach_the_used_ring() {
    for (used_length, read, write, flush, odd) in [
        (UsedLength::Exact, 1025, 1, 1, 0),
        (UsedLength::None, 0, 0, 0, 3),
        (UsedLength::One, 1, 1, 1, 1),
        (UsedLength::DataOnly, 1024, 0, 0, 3),
        (UsedLength::TooMuch, 2049, 1025, 1025, 3),
    ] {
        let mut bench = Bench::new(Behaviour {
            used_length,
            ..Behaviour::default()
        });
        let lengths = [
            bench.request(VIRTIO_BLK_T_IN, 3, &[(FIRST, 512, true), (SECOND, 512, true)]),
            bench.request(VIRTIO_BLK_T_OUT, 3, &[(FIRST, 512, false)]),
            bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]),
        ];
        assert_eq!(lengths, [read, write, flush], "{used_length:?}");
        assert_eq!(bench.report().odd_lengths, odd, "{used_length:?}");
        // Nothing but the length is wrong.
        assert_eq!([FIRST, SECOND, STATUS].map(|at| bench.byte(at)), [103, 104, 0]);
        assert!(bench.report().is_clean());
    }
}

#[test]
fn a_failed_read_writes_only_the_status() {
    let mut bench = Bench::new(Behaviour::default());
    for sector in [SECTORS, u64::MAX] {
        assert_eq!(bench.request(VIRTIO_BLK_T_IN, sector, &[(FIRST, 512, true)]), 1);
        assert_eq!((bench.byte(STATUS), bench.byte(FIRST)), (1, UNTOUCHED));
    }
    assert_eq!(bench.request(VIRTIO_BLK_T_IN, SECTORS - 1, &[(FIRST, 1024, true)]), 1);
    assert_eq!((bench.report().reads, bench.report().failed), (0, 3));
}

#[test]
fn a_read_only_disk_refuses_writes() {
    let mut bench = Bench::new(Behaviour {
        read_only: true,
        ..Behaviour::default()
    });
    assert_eq!(bench.request(VIRTIO_BLK_T_OUT, 3, &[(FIRST, 512, false)]), 1);
    assert_eq!((bench.byte(STATUS), bench.sector_on_disk(3)), (1, 103));
}

#[test]
fn flushes_and_writes_are_counted_against_each_other() {
    let mut bench = Bench::new(Behaviour::default());
    let mut request = |kind| {
        let data: &[_] = if kind == VIRTIO_BLK_T_OUT {
            &[(FIRST, 512, false)]
        } else {
            &[]
        };
        bench.request(kind, 0, data);
        (bench.report().writes_not_flushed, bench.report().flushes_after_writes)
    };
    assert_eq!(request(VIRTIO_BLK_T_FLUSH), (0, 1));
    assert_eq!(request(VIRTIO_BLK_T_OUT), (1, 0));
    assert_eq!(request(VIRTIO_BLK_T_OUT), (2, 0));
    assert_eq!(request(VIRTIO_BLK_T_FLUSH), (0, 1));
    assert_eq!(request(VIRTIO_BLK_T_FLUSH), (0, 2));
    assert_eq!((bench.report().writes, bench.report().flushes), (2, 3));
}

#[test]
fn the_id_has_twenty_bytes() {
    let mut bench = Bench::new(Behaviour {
        id: "disk".into(),
        ..Behaviour::default()
    });
    assert_eq!(
        bench.request(VIRTIO_BLK_T_GET_ID, 0, &[(FIRST, 3, true), (SECOND, 17, true)]),
        21
    );
    assert_eq!(
        [FIRST, FIRST + 2, FIRST + 3].map(|at| bench.byte(at)),
        [b'd', b's', UNTOUCHED]
    );
    assert_eq!(
        [SECOND, SECOND + 16, SECOND + 17].map(|at| bench.byte(at)),
        [b'k', 0, UNTOUCHED]
    );
}

#[test]
fn a_request_of_unknown_type_is_unsupported() {
    let mut bench = Bench::new(Behaviour::default());
    assert_eq!(bench.request(VIRTIO_BLK_T_DISCARD, 0, &[(FIRST, 16, false)]), 1);
    assert_eq!((bench.byte(STATUS), bench.report().failed), (2, 1));
}

#[test]
fn broken_chains_come_back_without_a_status() {
    let header = (HEADER, 16, false);
    let status = (STATUS, 1, true);
    let chains: [(&[_], &str); 6] = [
        (&[header], "no descriptor for the status"),
        (&[(HEADER, 16, true), status], "header"),
        (&[(HEADER, 8, false), (FIRST, 512, true), status], "header"),
        (&[header, (FIRST, 512, false), status], "wrong direction"),
        (&[header, (FIRST, 500, true), status], "whole number of sectors"),
        (&[header, (FIRST, 512, true), (STATUS, 1, false)], "is not writable"),
    ];
    for one_segment in [false, true] {
        for (chain, text) in chains {
            let mut bench = Bench::new(Behaviour {
                one_segment,
                ..Behaviour::default()
            });
            bench.memory.write_slice(&[0; 16], GuestAddress(HEADER)).unwrap();
            assert_eq!(bench.chain(chain), 0, "{text}");
            assert!(bench.report().described[0].contains(text), "{:?}", bench.report());
            assert_eq!(
                (bench.byte(STATUS), bench.byte(FIRST)),
                (UNTOUCHED, UNTOUCHED),
                "{text}"
            );
        }
    }
}
