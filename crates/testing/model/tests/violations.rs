//! Drivers that break one rule each, and the device that notices.

mod common;

use common::*;
use virtio_blk_model::{Limits, Model, ModelConfig, Zones, feature};
use virtio_core::{Dma, Features};
use virtio_mmio::RegisterAccess;

/// A register access.
#[derive(Clone, Copy)]
enum Poke {
    /// A read of so many bits.
    Read(u32, u32),
    /// A write of so many bits.
    Write(u32, u32, u32),
}

const fn r(offset: u32) -> Poke {
    Poke::Read(32, offset)
}

const fn w(offset: u32, value: u32) -> Poke {
    Poke::Write(32, offset, value)
}

use Poke::{Read, Write};

/// What a driver does to break a rule.
type Break = fn(&mut Driver);

/// The rule, a driver that has kept all rules so far, and the accesses that break it.
type Row<'a> = (&'static str, fn() -> Driver, &'a [Poke]);

const STATUS: u32 = 0x070;
const NOTIFY: u32 = 0x050;
const FEATURES: u32 = 0x010;
const FEATURES_SEL: u32 = 0x014;
const ACCEPT: u32 = 0x020;
const ACCEPT_SEL: u32 = 0x024;
const QUEUE_SEL: u32 = 0x030;
const QUEUE_SIZE: u32 = 0x038;
const QUEUE_READY: u32 = 0x044;
const WRITEBACK: u32 = 0x120;

/// Makes sure that the driver was caught for `id`. Other violations may follow from it.
#[track_caller]
fn assert_caught(id: &str, driver: &Driver) {
    let violations = driver.model.violations();
    assert!(
        violations.iter().any(|v| v.id == id),
        "should be {id}, but was {violations:#?}"
    );
}

fn check(rows: &[Row<'_>]) {
    for (id, start, pokes) in rows {
        let driver = start();
        for poke in *pokes {
            match *poke {
                Read(8, offset) => drop(driver.regs.read_u8(offset)),
                Read(16, offset) => drop(driver.regs.read_u16(offset)),
                Read(_, offset) => drop(driver.regs.read_u32(offset)),
                Write(8, offset, value) => driver.regs.write_u8(offset, value as u8),
                Write(_, offset, value) => driver.regs.write_u32(offset, value),
            }
        }
        assert_caught(id, &driver);
    }
}

/// A device of which no register was read.
fn untouched() -> Driver {
    let model = Model::new(ModelConfig::modern());
    let regs = model.registers();
    Driver {
        model,
        regs,
        ..probed()
    }
}

fn probed() -> Driver {
    Driver::probe(ModelConfig::modern())
}

fn empty_slot() -> Driver {
    Driver::probe(ModelConfig {
        device_id: 0,
        ..ModelConfig::modern()
    })
}

/// A reset was asked for, and never ends.
fn stuck() -> Driver {
    let driver = Driver::probe(ModelConfig {
        stuck_reset: true,
        ..ModelConfig::modern()
    });
    driver.status(0);
    assert_ne!(driver.regs.read_u32(STATUS), 0);
    driver
}

/// The reset is over.
fn reset() -> Driver {
    let driver = probed();
    driver.status(0);
    assert_eq!(driver.regs.read_u32(STATUS), 0);
    driver
}

/// ACKNOWLEDGE and DRIVER are set.
fn greeted() -> Driver {
    let driver = probed();
    driver.greet();
    driver
}

/// The features are written.
fn chosen() -> Driver {
    let driver = greeted();
    driver.write_features(USUAL);
    driver
}

fn legacy_greeted() -> Driver {
    let driver = Driver::probe(ModelConfig::legacy());
    driver.greet();
    driver
}

/// The features are accepted.
fn settled() -> Driver {
    let driver = greeted();
    assert!(driver.accept(USUAL));
    driver
}

fn refused() -> Driver {
    let driver = Driver::probe(ModelConfig {
        refuse_features: true,
        ..ModelConfig::modern()
    });
    driver.greet();
    assert!(!driver.accept(USUAL));
    driver
}

/// The queue is enabled.
fn ready() -> Driver {
    let mut driver = settled();
    driver.place_queue(16);
    driver.enable_queue();
    driver
}

fn needs_reset() -> Driver {
    let driver = Driver::usual();
    driver.model.needs_reset();
    driver
}

fn legacy() -> Driver {
    Driver::up(ModelConfig::legacy(), 0)
}

fn without_cache_switch() -> Driver {
    Driver::up(ModelConfig::modern(), USUAL & !feature::CONFIG_WCE)
}

fn accepting(offered: u64, accepted: u64) -> Driver {
    let driver = Driver::probe(ModelConfig::modern().offer(offered));
    driver.greet();
    driver.accept(accepted);
    driver
}

#[test]
fn register_accesses() {
    check(&[
        // Probing.
        ("MMIO-D-27", untouched, &[r(STATUS)]),
        ("MMIO-D-28", untouched, &[r(0x000), r(0x004), r(0x00C)]),
        ("MMIO-D-33", empty_slot, &[r(0x00C)]),
        // The status.
        ("INIT-D-07", probed, &[w(STATUS, 1)]),
        ("INIT-D-05", probed, &[w(STATUS, 0), w(STATUS, 1)]),
        ("INIT-D-05", stuck, &[w(STATUS, 1)]),
        ("INIT-D-09", reset, &[w(STATUS, 3)]),
        ("INIT-D-08", reset, &[w(STATUS, 2), w(STATUS, 3)]),
        ("INIT-D-02", greeted, &[w(STATUS, 2)]),
        ("INIT-D-02", needs_reset, &[w(STATUS, 0x8F)]),
        ("INIT-D-01", greeted, &[w(STATUS, 0x43)]),
        ("INIT-D-01", greeted, &[w(STATUS, 0x103)]),
        ("INIT-D-01", greeted, &[w(STATUS, 0x23)]),
        ("INIT-D-11", reset, &[w(STATUS, 1), w(STATUS, 9)]),
        ("INIT-D-14", greeted, &[w(STATUS, 0x0F)]),
        ("INIT-D-14", refused, &[w(STATUS, 0x07)]),
        ("INIT-D-12", chosen, &[w(STATUS, 0x0B), w(STATUS, 0x0F)]),
        ("INIT-D-03", greeted, &[w(STATUS, 0x83), w(STATUS, 0x8B)]),
        ("INIT-D-19", settled, &[w(STATUS, 0x8B), w(QUEUE_SIZE, 16)]),
        ("INIT-D-19", Driver::usual, &[w(STATUS, 0x8F), w(NOTIFY, 0)]),
        ("INIT-D-13", greeted, &[w(QUEUE_SIZE, 16)]),
        ("INIT-D-13", settled, &[w(STATUS, 0x0F), w(QUEUE_SIZE, 16)]),
        ("INIT-D-20", ready, &[w(NOTIFY, 0)]),
        ("SUSP-D-01", Driver::usual, &[w(STATUS, 0x1F)]),
        ("LEG-D-05", legacy_greeted, &[w(STATUS, 0x0B)]),
        // Features.
        ("MMIO-D-14", greeted, &[w(FEATURES_SEL, 0), r(FEATURES), r(FEATURES)]),
        ("MMIO-D-15", greeted, &[w(ACCEPT, 0)]),
        ("INIT-D-06", probed, &[w(FEATURES_SEL, 0), r(FEATURES)]),
        ("INIT-D-10", probed, &[w(ACCEPT_SEL, 0), w(ACCEPT, 0)]),
        ("INIT-D-10", greeted, &[w(ACCEPT_SEL, 1), w(ACCEPT, 1), w(STATUS, 0x0B)]),
        ("INIT-D-17", settled, &[w(ACCEPT_SEL, 0), w(ACCEPT, 0)]),
        ("LEG-N-04", legacy_greeted, &[w(FEATURES_SEL, 1), r(FEATURES)]),
        ("LEG-N-04", legacy_greeted, &[w(ACCEPT_SEL, 1), w(ACCEPT, 0)]),
        // Registers that are not there, or not for this kind of access.
        ("MMIO-D-01", probed, &[r(0x018)]),
        ("MMIO-D-01", greeted, &[w(0x028, 4096)]),
        ("MMIO-D-01", legacy, &[r(0x0FC)]),
        ("MMIO-D-01", settled, &[r(0x0C0)]),
        ("MMIO-D-01", probed, &[r(0x160)]),
        ("MMIO-D-02", greeted, &[w(0x008, 2)]),
        ("MMIO-D-03", greeted, &[r(QUEUE_SEL)]),
        ("MMIO-D-04", probed, &[Read(8, STATUS)]),
        ("MMIO-D-04", probed, &[r(0x072)]),
        ("MMIO-D-34", probed, &[r(0x0B0)]),
        ("MMIO-D-22", Driver::usual, &[w(0x064, 5)]),
        // The configuration: a byte, 16 bits and twice 32 bits.
        ("MMIO-D-05", probed, &[Read(16, 0x112)]),
        ("MMIO-D-06", probed, &[Read(8, 0x111)]),
        ("MMIO-D-06", probed, &[r(0x110)]),
        ("MMIO-D-07", probed, &[Read(8, 0x100)]),
        ("MMIO-D-07", probed, &[Read(16, 0x102)]),
        ("CFG-D-04", probed, &[r(0x108)]),
        ("BLK-D-04", greeted, &[Read(8, WRITEBACK)]),
        ("INIT-D-16", greeted, &[Write(8, WRITEBACK, 0)]),
        ("MMIO-D-02", Driver::usual, &[w(0x100, 1)]),
        ("BLK-D-22", Driver::usual, &[Write(8, WRITEBACK, 2)]),
        ("BLK-D-22", without_cache_switch, &[Write(8, WRITEBACK, 0)]),
        // Queues.
        ("MMIO-D-17", Driver::usual, &[w(0x084, 0)]),
        ("MMIO-D-19", ready, &[w(QUEUE_READY, 0), w(QUEUE_SIZE, 16)]),
        ("MMIO-N-03", settled, &[w(QUEUE_SEL, 7), w(QUEUE_SIZE, 16)]),
        ("MMIO-N-05", settled, &[w(QUEUE_SIZE, 16), w(QUEUE_READY, 1)]),
        ("LEG-N-09", legacy, &[r(0x034)]),
        ("MMIO-N-08", Driver::usual, &[w(NOTIFY, 1)]),
        ("MMIO-N-08", Driver::usual, &[w(NOTIFY, 1 << 16)]),
    ]);
}

#[test]
fn feature_choices() {
    let all_but_discard = USUAL & !feature::DISCARD;
    for (id, offered, accepted) in [
        ("FEAT-D-01", 0, USUAL | feature::ZONED),
        ("FEAT-D-02", 0, USUAL & !feature::FLUSH),
        ("FEAT-D-11", 0, USUAL & !feature::VERSION_1),
        ("BLK-D-06", u64::MAX, USUAL),
        ("FEAT-D-04", u64::MAX, all_but_discard | 1 << 27),
        ("FEAT-D-04", u64::MAX, all_but_discard | 1 << 42),
        ("FEAT-D-05", u64::MAX, all_but_discard | 1 << 30),
        ("FEAT-D-05", u64::MAX, all_but_discard | 1 << 44),
        ("FEAT-D-06", u64::MAX, all_but_discard | 1 << 37),
        ("FEAT-D-06", u64::MAX, all_but_discard | 1 << 39),
        ("FEAT-D-06", u64::MAX, all_but_discard | 1 << 41),
        ("FEAT-D-07", u64::MAX, all_but_discard | 1),
        ("FEAT-D-07", u64::MAX, all_but_discard | 1 << 23),
        ("FEAT-D-07", u64::MAX, all_but_discard | 1 << 63),
    ] {
        assert_caught(id, &accepting(offered, accepted));
    }
    for (id, offered, accepted) in [("LEG-D-11", feature::ANY_LAYOUT, 0), ("LEG-D-12", 1 << 30, 1 << 30)] {
        assert_caught(id, &Driver::up(ModelConfig::legacy().offer(offered), accepted));
    }
}

#[test]
fn the_device_refuses_what_it_cannot_accept() {
    let platform = ModelConfig {
        demanded: Features::ACCESS_PLATFORM,
        ..ModelConfig::modern().offer(feature::ACCESS_PLATFORM)
    };
    let packed = feature::RING_PACKED;
    for (config, bits) in [
        (ModelConfig::modern().offer(packed), USUAL | packed),
        (ModelConfig::modern(), USUAL | feature::ZONED),
        (ModelConfig::modern(), USUAL & !feature::VERSION_1),
        (platform, USUAL),
    ] {
        let driver = Driver::probe(config);
        driver.greet();
        assert!(!driver.accept(bits));
        assert_eq!(driver.regs.read_u32(STATUS), 3);
    }
}

#[test]
fn queue_set_up() {
    let rows: [(&str, Break); 12] = [
        ("MMIO-D-16", |driver| driver.place_queue(512)),
        ("RING-N-01", |driver| driver.size = 6),
        ("RING-D-01", |driver| driver.table += 8),
        ("RING-D-01", |driver| driver.avail += 1),
        ("RING-D-01", |driver| driver.used += 2),
        ("RING-N-02", |driver| driver.used += 4096),
        ("RING-N-02", |driver| driver.table = 0x1000),
        ("RING-N-15", |driver| driver.put16(driver.used + 2, 1)),
        ("RING-N-15", |driver| driver.put16(driver.used + 100, 1)),
        ("RING-N-15", |driver| driver.put16(driver.avail + 2, 1)),
        ("RING-N-15", |driver| driver.put16(driver.avail, 2)),
        ("RING-D-19", |driver| driver.put16(driver.used, 1)),
    ];
    for (id, change) in rows {
        let mut driver = settled();
        driver.place_queue(16);
        driver.regs.write_u32(QUEUE_SEL, 0);
        change(&mut driver);
        driver.enable_queue();
        assert_caught(id, &driver);
    }
    let page_size = (0x028, 4096);
    for (id, accesses) in [
        ("LEG-N-06", &[(QUEUE_SIZE, 16), (0x03C, 4096)][..]),
        ("LEG-N-06", &[(0x028, 4095), (QUEUE_SIZE, 16), (0x03C, 4096)]),
        ("LEG-N-07", &[page_size, (QUEUE_SIZE, 16)]),
        ("RING-N-01", &[page_size, (0x03C, 4096)]),
    ] {
        let mut driver = legacy_greeted();
        driver.accept(0);
        driver.place_queue(16);
        driver.regs.write_u32(QUEUE_SEL, 0);
        for &(offset, value) in accesses {
            driver.regs.write_u32(offset, value);
        }
        driver.regs.write_u32(0x040, (driver.table / 4096) as u32);
        assert_caught(id, &driver);
    }
}

/// Moves the chain at descriptor 0 into a table of `entries`, of which three matter.
fn in_table(driver: &mut Driver, entries: u16, flags: u16) -> u64 {
    let table = driver.allocate(16 * usize::from(entries));
    driver.put(table, &driver.get(driver.table, 48));
    driver.desc(0, table, 16 * u32::from(entries), flags, 1);
    table
}

#[test]
fn chains() {
    let indirect = feature::INDIRECT_DESC;
    let in_order = feature::IN_ORDER;
    // What is changed in a chain of header, 20 bytes and status that starts at descriptor 0.
    let rows: [(&str, u64, Break); 17] = [
        ("RING-D-02", 0, |driver| {
            let at = driver.allocate(16);
            driver.desc(2, at, 1, NEXT | WRITE, 3);
            driver.desc(3, at, 16, 0, 0);
        }),
        ("RING-D-04", 0, |driver| {
            driver.desc(2, driver.table, 1, NEXT | WRITE, 2);
        }),
        ("RING-D-04", 0, |driver| {
            let at = driver.allocate(16);
            driver.desc(1, at, u32::MAX, NEXT | WRITE, 2);
            driver.desc(2, at, u32::MAX, WRITE, 0);
        }),
        ("RING-D-06", 0, |driver| {
            in_table(driver, 3, INDIRECT);
        }),
        ("RING-D-07", indirect, |driver| {
            let table = in_table(driver, 3, INDIRECT);
            driver.desc_at(table, 1, table, 16, INDIRECT, 0);
        }),
        ("RING-D-08", indirect, |driver| {
            let table = in_table(driver, 40, INDIRECT);
            let at = driver.allocate(1);
            for i in 1..20 {
                driver.desc_at(table, i, at, 1, NEXT | WRITE, i + 1);
            }
            driver.desc_at(table, 20, at, 1, WRITE, 0);
        }),
        ("RING-D-09", indirect, |driver| {
            in_table(driver, 3, INDIRECT | NEXT);
        }),
        ("RING-N-11", indirect, |driver| {
            let table = in_table(driver, 3, INDIRECT);
            driver.desc(0, table, 40, INDIRECT, 0);
        }),
        ("RING-N-11", indirect, |driver| {
            let table = in_table(driver, 3, INDIRECT);
            driver.desc(0, table, 0, INDIRECT, 0);
        }),
        ("RING-N-11", indirect, |driver| {
            let table = in_table(driver, 3, INDIRECT);
            driver.desc(0, table, 32, INDIRECT, 0);
        }),
        ("RING-N-01", 0, |driver| driver.desc(0, driver.table, 16, NEXT, 16)),
        ("RING-N-02", 0, |driver| {
            let status = driver.allocate(1);
            driver.desc(2, status, 1, WRITE | 0x80, 0);
        }),
        ("RING-N-05", 0, |driver| {
            let data = driver.allocate(21);
            driver.desc(1, data, 0, NEXT | WRITE, 2);
            driver.desc(2, data, 21, WRITE, 0);
        }),
        ("FEAT-D-15", 0, |driver| driver.desc(1, 0x1000, 20, NEXT | WRITE, 2)),
        ("FEAT-D-15", 0, |driver| {
            let data = driver.allocate(19);
            driver.desc(1, data, 20, NEXT | WRITE, 2);
        }),
        ("RING-D-05", in_order, |driver| {
            let at = driver.allocate(21);
            driver.desc(1, at, 20, NEXT | WRITE, 3);
            driver.desc(3, at + 20, 1, WRITE, 0);
        }),
        ("RING-D-10", in_order | indirect, |driver| {
            let at = driver.allocate(21);
            let table = in_table(driver, 4, INDIRECT);
            driver.desc_at(table, 1, at, 20, NEXT | WRITE, 3);
            driver.desc_at(table, 3, at + 20, 1, WRITE, 0);
        }),
    ];
    for (id, accepted, change) in rows {
        let mut driver = Driver::up(ModelConfig::modern().offer(in_order), USUAL | accepted);
        driver.chain(0, GET_ID, 0, &[], 20);
        change(&mut driver);
        driver.serve(0);
        assert_caught(id, &driver);
    }
}

#[test]
fn indices_flags_and_memory_in_flight() {
    let (event_idx, data) = (feature::EVENT_IDX, feature::NOTIFICATION_DATA);
    let rows: [(&str, u64, Break); 10] = [
        ("RING-D-11", 0, |driver| {
            driver.serve(0);
            driver.put16(driver.avail + 2, 0);
            driver.notify();
        }),
        ("RING-N-14", 0, |driver| {
            for _ in 0..17 {
                driver.publish(0);
            }
            driver.notify();
        }),
        ("RING-D-12", 0, |driver| {
            driver.put16(driver.avail, 2);
            driver.serve(0);
        }),
        ("RING-D-14", event_idx, |driver| {
            driver.put16(driver.avail, 1);
            driver.serve(0);
        }),
        ("INIT-D-21", 0, |driver| {
            driver.publish(0);
            driver.model.hold(1);
            driver.put16(driver.table + 14, 9);
            driver.model.complete_held();
        }),
        ("INIT-D-21", 0, |driver| {
            driver.publish(0);
            driver.publish(0);
            driver.model.hold(1);
            driver.model.hold(1);
        }),
        ("INIT-D-22", 0, |driver| {
            driver.publish(0);
            let status = driver.regions.pop().unwrap();
            driver.dma.release(status);
        }),
        ("INIT-D-22", 0, |driver| {
            let queue = driver.regions.remove(0);
            driver.dma.release(queue);
        }),
        ("INIT-D-22", 0, |driver| {
            driver.status(0);
            let queue = driver.regions.remove(0);
            driver.dma.release(queue);
        }),
        ("NOTF-N-02", data, |driver| {
            driver.publish(0);
            driver.regs.write_u32(NOTIFY, 1 << 16);
            driver.model.assert_clean();
            driver.regs.write_u32(NOTIFY, 0);
        }),
    ];
    for (id, accepted, go) in rows {
        let mut driver = Driver::up(ModelConfig::modern().offer(data), USUAL | accepted);
        driver.chain(0, FLUSH, 0, &[], 0);
        go(&mut driver);
        assert_caught(id, &driver);
    }
}

#[test]
fn memory_may_be_released_after_a_reset_was_seen() {
    let mut driver = Driver::usual();
    driver.chain(0, FLUSH, 0, &[], 0);
    driver.publish(0);
    driver.status(0);
    assert_eq!(driver.regs.read_u32(STATUS), 0);
    for region in driver.regions.drain(..) {
        driver.dma.release(region);
    }
    assert_eq!(driver.model.allocations(), 0);
    driver.model.assert_clean();
}

#[test]
fn requests() {
    let offers = feature::LIFETIME | feature::SECURE_ERASE | feature::SIZE_MAX;
    let limits = Limits {
        max_sectors: 8,
        ..Limits::default()
    };
    let config = ModelConfig {
        discard: limits,
        write_zeroes: limits,
        secure_erase: limits,
        seg_max: 1,
        size_max: 4096,
        ..ModelConfig::modern().offer(offers)
    };
    let two = || [range(0, 1, 0), range(1, 1, 0)].concat();
    for (id, kind, sector, out, room) in [
        ("BLK-D-12", IN, 16384, vec![], 512),
        ("BLK-D-12", OUT, 16383, content(2, 0), 0),
        ("BLK-D-12", IN, u64::MAX, vec![], 512),
        ("BLK-D-12", DISCARD, 0, range(16384, 1, 0), 0),
        ("BLK-D-14", FLUSH, 1, vec![], 0),
        ("BLK-D-15", FLUSH, 0, vec![0; 8], 0),
        ("BLK-D-16", IN, 0, vec![], 513),
        ("BLK-D-16", OUT, 0, vec![0; 100], 0),
        ("BLK-D-16", IN, 0, vec![], 0),
        ("BLK-D-17", DISCARD, 0, vec![0; 24], 0),
        ("BLK-D-17", WRITE_ZEROES, 0, vec![], 0),
        ("BLK-D-18", GET_ID, 0, vec![], 512),
        ("BLK-D-19", DISCARD, 0, two(), 0),
        ("BLK-D-20", SECURE_ERASE, 0, two(), 0),
        ("BLK-D-21", WRITE_ZEROES, 0, two(), 0),
        ("BLK-D-24", DISCARD, 0, range(0, 1, 1), 0),
        ("BLK-N-11", WRITE_ZEROES, 0, range(0, 1, 2), 0),
        ("BLK-N-11", SECURE_ERASE, 0, range(0, 1, 1), 0),
        ("BLK-N-09", DISCARD, 0, range(0, 9, 0), 0),
        ("BLK-N-06", DISCARD, 1, range(0, 1, 0), 0),
        ("BLK-N-06", GET_ID, 1, vec![], 20),
        ("BLK-N-17", GET_LIFETIME, 0, vec![], 8),
        ("BLK-N-04", IN, 0, vec![], 8192),
        ("BLK-N-05", IN, 0, vec![0; 512], 512),
    ] {
        let mut driver = Driver::up(config.clone(), USUAL | offers);
        driver.request(kind, sector, &out, room);
        assert_caught(id, &driver);
    }
}

#[test]
fn requests_of_odd_shape() {
    let blocks = ModelConfig {
        block_size: 4096,
        ..ModelConfig::modern()
    };
    let one_segment = ModelConfig {
        seg_max: 1,
        ..ModelConfig::modern()
    };
    let (modern, read_only) = (ModelConfig::modern(), ModelConfig::modern().offer(feature::RO));
    let rows: [(&str, ModelConfig, u64, Break); 9] = [
        ("BLK-N-04", one_segment, USUAL, |driver| {
            let (data, status) = driver.chain(0, IN, 0, &[], 512);
            driver.desc(1, data, 500, NEXT | WRITE, 2);
            driver.desc(2, data + 500, 12, NEXT | WRITE, 3);
            driver.desc(3, status, 1, WRITE, 0);
            driver.serve(0);
        }),
        ("BLK-N-05", modern.clone(), USUAL, |driver| {
            let (_, status) = driver.chain(0, FLUSH, 0, &[], 0);
            driver.desc(0, status, 1, NEXT, 1);
            driver.serve(0);
            assert_eq!(driver.regs.read_u32(STATUS), 0x4F, "the device cannot go on");
        }),
        ("BLK-N-05", modern.clone(), USUAL, |driver| {
            let header = driver.header(FLUSH, 0);
            driver.desc(0, header, 16, 0, 0);
            driver.serve(0);
        }),
        ("BLK-N-07", modern.clone(), USUAL, |driver| {
            driver.chain(0, FLUSH, 0, &[], 0);
            let header = u64::from_le_bytes(driver.get(driver.table, 8).try_into().unwrap());
            driver.put(header + 4, &[1]);
            driver.serve(0);
        }),
        ("BLK-N-08", read_only, USUAL | feature::RO, |driver| {
            driver.request(OUT, 0, &content(1, 0), 0);
        }),
        ("BLK-N-03", blocks, USUAL, |driver| {
            assert_eq!(driver.request(IN, 8, &[], 4096).0, 0);
            driver.model.assert_clean();
            assert_eq!(driver.request(IN, 1, &[], 4096).0, 1);
        }),
        ("BLK-D-01", modern.clone(), feature::VERSION_1, |driver| {
            assert_eq!(driver.request(FLUSH, 0, &[], 0).0, 2);
        }),
        ("FEAT-D-01", modern, USUAL, |driver| {
            assert_eq!(driver.request(SECURE_ERASE, 0, &range(0, 1, 0), 0).0, 2);
        }),
        ("LEG-D-29", ModelConfig::legacy(), 0, |driver| {
            let header = driver.header(IN, 0);
            let tail = driver.allocate(513);
            driver.desc(0, header, 16, NEXT, 1);
            driver.desc(1, tail, 513, WRITE, 0);
            driver.serve(0);
        }),
    ];
    for (id, config, accepted, go) in rows {
        let mut driver = Driver::up(config, accepted);
        go(&mut driver);
        assert_caught(id, &driver);
    }
}

#[test]
fn zone_requests() {
    let offers = feature::ZONED | feature::SECURE_ERASE;
    let config = ModelConfig {
        zones: Zones {
            write_granularity: 1024,
            ..Zones::default()
        },
        ..ModelConfig::modern().offer(offers)
    };
    for (id, kind, sector, out, room) in [
        ("BLK-D-28", ZONE_REPORT, 16384, vec![], 128),
        ("BLK-D-30", ZONE_OPEN, 65, vec![], 0),
        ("BLK-D-31", ZONE_RESET_ALL, 64, vec![], 0),
        ("BLK-D-32", ZONE_APPEND, 65, content(2, 0), 8),
        ("BLK-D-33", ZONE_APPEND, 64, content(1, 0), 8),
        ("BLK-D-34", ZONE_APPEND, 64, content(18, 0), 8),
        ("BLK-D-36", OUT, 64, content(1, 0), 0),
        ("BLK-D-37", OUT, 65, content(2, 0), 0),
        ("BLK-D-38", OUT, 126, content(4, 0), 0),
        ("BLK-D-39", SECURE_ERASE, 0, range(64, 32, 0), 0),
    ] {
        let mut driver = Driver::up(config.clone(), USUAL & !feature::DISCARD | offers);
        driver.request(kind, sector, &out, room);
        assert_caught(id, &driver);
    }
}

#[test]
fn an_owed_notification_is_missed() {
    for (extra, id) in [(0, "RING-D-22"), (feature::EVENT_IDX, "RING-D-24")] {
        let mut driver = Driver::up(ModelConfig::modern(), USUAL | extra);
        driver.model.expect_notified();
        driver.request(FLUSH, 0, &[], 0);
        driver.model.expect_notified();
        driver.model.assert_clean();
        driver.chain(0, FLUSH, 0, &[], 0);
        driver.publish(0);
        driver.model.expect_notified();
        assert_caught(id, &driver);
    }
}

#[test]
fn the_assertion_names_what_was_violated() {
    Driver::usual().model.assert_clean();
    legacy().model.assert_clean();
    let driver = probed();
    driver.regs.read_u32(0x018);
    let message = std::panic::catch_unwind(|| driver.model.assert_clean()).unwrap_err();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains("MMIO-D-01") && message.contains("0x18"), "{message}");
    assert_eq!(driver.model.take_violations().len(), 1);
    driver.model.assert_clean();
}
