//! A driver that breaks one rule at a time, and the device that notices.

mod common;

use common::*;
use virtio_blk_model::{Limits, ModelConfig, Zones, feature};
use virtio_core::{Dma, Features};
use virtio_mmio::RegisterAccess;

/// Breaks a rule and must be caught for `id`. Other violations may follow from it.
type Case = (&'static str, fn() -> Driver);

fn check(cases: &[Case]) {
    for (i, (id, run)) in cases.iter().enumerate() {
        let driver = run();
        let violations = driver.model.violations();
        assert!(
            violations.iter().any(|v| v.id == *id),
            "case {i} should be {id}, but was {violations:#?}"
        );
    }
}

fn probed() -> Driver {
    Driver::probe(ModelConfig::modern())
}

fn greeted() -> Driver {
    let driver = probed();
    driver.greet();
    driver
}

/// Up to the point where queues are set up.
fn settled() -> Driver {
    let driver = greeted();
    assert!(driver.accept(USUAL));
    driver
}

fn legacy() -> Driver {
    Driver::up(ModelConfig::legacy(), 0)
}

#[test]
fn the_order_of_initialisation() {
    check(&[
        ("MMIO-D-27", || {
            let driver = probed();
            let model = virtio_blk_model::Model::new(ModelConfig::modern());
            model.registers().read_u32(0x070);
            Driver { model, ..driver }
        }),
        ("MMIO-D-28", || {
            let driver = probed();
            let model = virtio_blk_model::Model::new(ModelConfig::modern());
            for offset in [0, 4, 0x00C] {
                model.registers().read_u32(offset);
            }
            Driver { model, ..driver }
        }),
        ("MMIO-D-33", || {
            let driver = Driver::probe(ModelConfig {
                device_id: 0,
                ..ModelConfig::modern()
            });
            driver.regs.read_u32(0x00C);
            driver
        }),
        ("INIT-D-07", || {
            let driver = probed();
            driver.status(1);
            driver
        }),
        ("INIT-D-05", || {
            let driver = probed();
            driver.status(0);
            driver.status(1);
            driver
        }),
        ("INIT-D-05", || {
            let driver = Driver::probe(ModelConfig {
                stuck_reset: true,
                ..ModelConfig::modern()
            });
            driver.status(0);
            assert_ne!(driver.regs.read_u32(0x070), 0);
            driver.status(1);
            driver
        }),
        ("INIT-D-09", || {
            let driver = probed();
            driver.status(0);
            driver.regs.read_u32(0x070);
            driver.status(3);
            driver
        }),
        ("INIT-D-08", || {
            let driver = probed();
            driver.status(0);
            driver.regs.read_u32(0x070);
            driver.status(2);
            driver.status(3);
            driver
        }),
        ("INIT-D-02", || {
            let driver = greeted();
            driver.status(2);
            driver
        }),
        ("INIT-D-02", || {
            let driver = Driver::usual();
            driver.model.needs_reset();
            driver.status(0x8F);
            assert_eq!(driver.regs.read_u32(0x070), 0xCF);
            driver
        }),
        ("INIT-D-01", || {
            let driver = greeted();
            driver.status(0x43);
            driver
        }),
        ("INIT-D-01", || {
            let driver = greeted();
            driver.status(0x103);
            driver
        }),
        ("INIT-D-11", || {
            let driver = probed();
            driver.status(0);
            driver.regs.read_u32(0x070);
            driver.status(1);
            driver.status(9);
            driver
        }),
        ("INIT-D-14", || {
            let driver = greeted();
            driver.status(0x0F);
            driver
        }),
        ("INIT-D-12", || {
            let driver = greeted();
            for word in 0..2 {
                driver.regs.write_u32(0x024, word);
                driver.regs.write_u32(0x020, (USUAL >> (32 * word)) as u32);
            }
            driver.status(0x0B);
            driver.status(0x0F);
            driver
        }),
        ("INIT-D-14", || {
            let driver = Driver::probe(ModelConfig {
                refuse_features: true,
                ..ModelConfig::modern()
            });
            driver.greet();
            assert!(!driver.accept(USUAL));
            driver.status(0x07);
            driver
        }),
        ("INIT-D-03", || {
            let driver = greeted();
            driver.status(0x83);
            driver.status(0x8B);
            driver
        }),
        ("INIT-D-19", || {
            let mut driver = settled();
            driver.place_queue(16);
            driver.status(0x8B);
            driver.enable_queue();
            driver
        }),
        ("INIT-D-19", || {
            let driver = Driver::usual();
            driver.status(0x8F);
            driver.notify();
            driver
        }),
        ("INIT-D-13", || {
            let mut driver = greeted();
            driver.place_queue(16);
            driver.enable_queue();
            driver
        }),
        ("INIT-D-13", || {
            let mut driver = settled();
            driver.live();
            driver.place_queue(16);
            driver.enable_queue();
            driver
        }),
        ("INIT-D-20", || {
            let mut driver = settled();
            driver.place_queue(16);
            driver.enable_queue();
            driver.notify();
            driver
        }),
        ("SUSP-D-01", || {
            let driver = Driver::usual();
            driver.status(0x1F);
            driver
        }),
        ("LEG-D-05", || {
            let driver = Driver::probe(ModelConfig::legacy());
            driver.greet();
            driver.status(0x0B);
            driver
        }),
    ]);
}

#[test]
fn the_choice_of_features() {
    fn accepting(bits: u64) -> Driver {
        let driver = Driver::probe(ModelConfig::modern().offer(u64::MAX));
        driver.greet();
        driver.accept(USUAL & !feature::DISCARD | bits);
        driver
    }
    check(&[
        ("MMIO-D-14", || {
            let driver = greeted();
            driver.regs.write_u32(0x014, 0);
            driver.regs.read_u32(0x010);
            driver.regs.read_u32(0x010);
            driver
        }),
        ("MMIO-D-15", || {
            let driver = greeted();
            driver.regs.write_u32(0x020, 0);
            driver
        }),
        ("INIT-D-06", || {
            let driver = probed();
            driver.regs.write_u32(0x014, 0);
            driver.regs.read_u32(0x010);
            driver
        }),
        ("INIT-D-10", || {
            let driver = probed();
            driver.regs.write_u32(0x024, 0);
            driver.regs.write_u32(0x020, 0);
            driver
        }),
        ("INIT-D-10", || {
            let driver = greeted();
            driver.regs.write_u32(0x024, 1);
            driver.regs.write_u32(0x020, 1);
            driver.status(0x0B);
            driver
        }),
        ("INIT-D-17", || {
            let driver = settled();
            driver.regs.write_u32(0x024, 0);
            driver.regs.write_u32(0x020, 0);
            driver
        }),
        ("FEAT-D-01", || {
            let driver = greeted();
            driver.accept(USUAL | feature::ZONED);
            driver
        }),
        ("FEAT-D-02", || accepting_without_flush()),
        ("FEAT-D-04", || accepting(1 << 27)),
        ("FEAT-D-04", || accepting(1 << 42)),
        ("FEAT-D-05", || accepting(1 << 30)),
        ("FEAT-D-05", || accepting(1 << 44)),
        ("FEAT-D-06", || accepting(1 << 37)),
        ("FEAT-D-06", || accepting(1 << 39)),
        ("FEAT-D-06", || accepting(1 << 41)),
        ("FEAT-D-07", || accepting(1)),
        ("FEAT-D-07", || accepting(1 << 23)),
        ("FEAT-D-07", || accepting(1 << 63)),
        ("FEAT-D-11", || {
            let driver = greeted();
            assert!(!driver.accept(USUAL & !feature::VERSION_1));
            driver
        }),
        ("BLK-D-06", || accepting(feature::DISCARD)),
        ("LEG-N-04", || {
            let driver = Driver::probe(ModelConfig::legacy());
            driver.greet();
            driver.regs.write_u32(0x014, 1);
            driver.regs.read_u32(0x010);
            driver
        }),
        ("LEG-D-11", || {
            Driver::up(ModelConfig::legacy().offer(feature::ANY_LAYOUT), 0)
        }),
        ("LEG-D-12", || Driver::up(ModelConfig::legacy().offer(1 << 30), 1 << 30)),
    ]);

    fn accepting_without_flush() -> Driver {
        let driver = greeted();
        driver.accept(USUAL & !feature::FLUSH);
        driver
    }
}

#[test]
fn the_device_refuses_what_it_cannot_accept() {
    let cases = [
        (
            ModelConfig::modern().offer(feature::RING_PACKED),
            USUAL | feature::RING_PACKED,
        ),
        (ModelConfig::modern(), USUAL | feature::ZONED),
        (
            ModelConfig {
                refuse_features: true,
                ..ModelConfig::modern()
            },
            USUAL,
        ),
        (
            ModelConfig {
                demanded: Features::ACCESS_PLATFORM,
                ..ModelConfig::modern().offer(feature::ACCESS_PLATFORM)
            },
            USUAL,
        ),
    ];
    for (config, bits) in cases {
        let driver = Driver::probe(config);
        driver.greet();
        assert!(!driver.accept(bits));
        assert_eq!(driver.regs.read_u32(0x070), 3);
    }
}

#[test]
fn registers_and_configuration() {
    check(&[
        ("MMIO-D-01", || {
            let driver = probed();
            driver.regs.read_u32(0x018);
            driver
        }),
        ("MMIO-D-01", || {
            let driver = greeted();
            driver.regs.write_u32(0x028, 4096);
            driver
        }),
        ("MMIO-D-01", || {
            let driver = legacy();
            assert_eq!(driver.regs.read_u32(0x0FC), u32::MAX);
            driver
        }),
        ("MMIO-D-01", || {
            let driver = settled();
            driver.regs.read_u32(0x0C0);
            driver
        }),
        ("MMIO-D-02", || {
            let driver = greeted();
            driver.regs.write_u32(0x008, 2);
            driver
        }),
        ("MMIO-D-03", || {
            let driver = greeted();
            driver.regs.read_u32(0x030);
            driver
        }),
        ("MMIO-D-04", || {
            let driver = probed();
            driver.regs.read_u8(0x070);
            driver
        }),
        ("MMIO-D-04", || {
            let driver = probed();
            driver.regs.read_u32(0x072);
            driver
        }),
        ("MMIO-D-34", || {
            let driver = probed();
            driver.regs.read_u32(0x0B0);
            driver
        }),
        ("MMIO-D-05", || {
            let driver = probed();
            driver.regs.read_u16(0x112);
            driver
        }),
        ("MMIO-D-06", || {
            let driver = probed();
            driver.regs.read_u8(0x111);
            driver
        }),
        ("MMIO-D-07", || {
            let driver = probed();
            driver.regs.read_u8(0x100);
            driver
        }),
        ("MMIO-D-01", || {
            let driver = probed();
            assert_eq!(driver.regs.read_u32(0x160), u32::MAX);
            driver
        }),
        ("CFG-D-04", || {
            let driver = probed();
            driver.regs.read_u32(0x108);
            driver
        }),
        ("BLK-D-04", || {
            let driver = greeted();
            driver.regs.read_u8(0x120);
            driver
        }),
        ("INIT-D-16", || {
            let driver = greeted();
            driver.regs.write_u8(0x120, 0);
            driver
        }),
        ("MMIO-D-02", || {
            let driver = Driver::usual();
            driver.regs.write_u32(0x100, 1);
            assert_eq!(driver.regs.read_u32(0x100), 16384);
            driver
        }),
        ("BLK-D-22", || {
            let driver = Driver::usual();
            driver.regs.write_u8(0x120, 2);
            driver
        }),
        ("BLK-D-22", || {
            let driver = Driver::up(ModelConfig::modern(), USUAL & !feature::CONFIG_WCE);
            driver.regs.write_u8(0x120, 0);
            driver
        }),
        ("MMIO-D-22", || {
            let driver = Driver::usual();
            driver.regs.write_u32(0x064, 5);
            driver
        }),
    ]);
}

#[test]
fn setting_up_a_queue() {
    /// Enables a queue after `change` did something to it.
    fn with(change: fn(&mut Driver)) -> Driver {
        let mut driver = settled();
        driver.place_queue(16);
        change(&mut driver);
        driver.enable_queue();
        driver
    }
    fn legacy_with(accesses: &[(u32, u32)]) -> Driver {
        let mut driver = Driver::probe(ModelConfig::legacy());
        driver.greet();
        driver.accept(0);
        driver.place_queue(16);
        driver.regs.write_u32(0x030, 0);
        for &(offset, value) in accesses {
            driver.regs.write_u32(offset, value);
        }
        driver.regs.write_u32(0x040, (driver.table / 4096) as u32);
        driver
    }
    check(&[
        ("MMIO-D-16", || {
            let mut driver = settled();
            driver.place_queue(512);
            driver.enable_queue();
            driver
        }),
        ("RING-N-01", || with(|driver| driver.size = 6)),
        ("RING-D-01", || with(|driver| driver.table += 8)),
        ("RING-D-01", || with(|driver| driver.avail += 1)),
        ("RING-D-01", || with(|driver| driver.used += 2)),
        ("RING-N-02", || with(|driver| driver.used += 4096)),
        ("RING-N-02", || with(|driver| driver.table = 0x1000)),
        ("RING-N-15", || with(|driver| driver.put16(driver.used + 2, 1))),
        ("RING-N-15", || with(|driver| driver.put16(driver.used + 100, 1))),
        ("RING-N-15", || with(|driver| driver.put16(driver.avail + 2, 1))),
        ("RING-N-15", || with(|driver| driver.put16(driver.avail, 2))),
        ("RING-D-19", || with(|driver| driver.put16(driver.used, 1))),
        ("MMIO-N-05", || {
            let mut driver = settled();
            driver.place_queue(16);
            driver.regs.write_u32(0x030, 0);
            driver.regs.write_u32(0x038, 16);
            for (low, addr) in [(0x080, driver.table), (0x090, driver.avail), (0x0A0, driver.used)] {
                driver.regs.write_u32(low, addr as u32);
            }
            driver.regs.write_u32(0x044, 1);
            driver
        }),
        ("MMIO-D-17", || {
            let driver = Driver::usual();
            driver.regs.write_u32(0x084, 0);
            driver
        }),
        ("MMIO-D-19", || {
            let mut driver = settled();
            driver.place_queue(16);
            driver.enable_queue();
            driver.regs.write_u32(0x044, 0);
            driver.regs.write_u32(0x038, 16);
            driver
        }),
        ("MMIO-N-03", || {
            let driver = settled();
            driver.regs.write_u32(0x030, 7);
            assert_eq!(driver.regs.read_u32(0x034), 0);
            driver.regs.write_u32(0x038, 16);
            driver
        }),
        ("LEG-N-06", || legacy_with(&[(0x038, 16), (0x03C, 4096)])),
        ("LEG-N-06", || legacy_with(&[(0x028, 4095), (0x038, 16), (0x03C, 4096)])),
        ("LEG-N-07", || legacy_with(&[(0x028, 4096), (0x038, 16)])),
        ("RING-N-01", || legacy_with(&[(0x028, 4096), (0x03C, 4096)])),
        ("LEG-N-09", || {
            let driver = legacy();
            driver.regs.read_u32(0x034);
            driver
        }),
    ]);
}

#[test]
fn chains_and_indices() {
    /// Serves a chain of descriptors as given, starting with descriptor 0.
    fn served(accepted: u64, write: fn(&mut Driver)) -> Driver {
        let mut driver = Driver::up(ModelConfig::modern(), USUAL | accepted);
        driver.chain(0, GET_ID, 0, &[], 20);
        write(&mut driver);
        driver.serve(0);
        driver
    }
    /// Serves the chain moved into a table of `entries`, of which three matter.
    fn in_table(driver: &mut Driver, entries: u16, flags: u16) -> u64 {
        let table = driver.allocate(16 * usize::from(entries));
        driver.put(table, &driver.get(driver.table, 48));
        driver.desc(0, table, 16 * u32::from(entries), flags, 1);
        table
    }
    check(&[
        ("RING-D-02", || {
            served(0, |driver| {
                let at = driver.allocate(16);
                driver.desc(2, at, 1, NEXT | WRITE, 3);
                driver.desc(3, at, 16, 0, 0);
            })
        }),
        ("RING-D-04", || {
            served(0, |driver| driver.desc(2, driver.table, 1, NEXT | WRITE, 2))
        }),
        ("RING-D-04", || {
            served(0, |driver| {
                let at = driver.allocate(16);
                driver.desc(1, at, u32::MAX, NEXT | WRITE, 2);
                driver.desc(2, at, u32::MAX, WRITE, 0);
            })
        }),
        ("RING-D-06", || {
            served(0, |driver| {
                in_table(driver, 3, INDIRECT);
            })
        }),
        ("RING-D-07", || {
            served(feature::INDIRECT_DESC, |driver| {
                let table = in_table(driver, 3, INDIRECT);
                driver.desc_at(table, 1, table, 16, INDIRECT, 0);
            })
        }),
        ("RING-D-08", || {
            served(feature::INDIRECT_DESC, |driver| {
                let table = in_table(driver, 40, INDIRECT);
                let at = driver.allocate(1);
                for i in 1..20 {
                    driver.desc_at(table, i, at, 1, NEXT | WRITE, i + 1);
                }
                driver.desc_at(table, 20, at, 1, WRITE, 0);
            })
        }),
        ("RING-D-09", || {
            served(feature::INDIRECT_DESC, |driver| {
                in_table(driver, 3, INDIRECT | NEXT);
            })
        }),
        ("RING-N-11", || {
            served(feature::INDIRECT_DESC, |driver| {
                let table = in_table(driver, 3, INDIRECT);
                driver.desc(0, table, 40, INDIRECT, 0);
            })
        }),
        ("RING-N-11", || {
            served(feature::INDIRECT_DESC, |driver| {
                let table = in_table(driver, 3, INDIRECT);
                driver.desc(0, table, 0, INDIRECT, 0);
            })
        }),
        ("RING-N-11", || {
            served(feature::INDIRECT_DESC, |driver| {
                let table = in_table(driver, 3, INDIRECT);
                driver.desc(0, table, 32, INDIRECT, 0);
            })
        }),
        ("RING-N-01", || {
            served(0, |driver| driver.desc(0, driver.table, 16, NEXT, 16))
        }),
        ("RING-N-02", || {
            served(0, |driver| {
                let status = driver.allocate(1);
                driver.desc(2, status, 1, WRITE | 0x80, 0);
            })
        }),
        ("RING-N-05", || {
            served(0, |driver| {
                let data = driver.allocate(21);
                driver.desc(1, data, 0, NEXT | WRITE, 2);
                driver.desc(2, data, 21, WRITE, 0);
            })
        }),
        ("FEAT-D-15", || {
            served(0, |driver| driver.desc(1, 0x1000, 20, NEXT | WRITE, 2))
        }),
        ("FEAT-D-15", || {
            served(0, |driver| {
                let data = driver.allocate(19);
                driver.desc(1, data, 20, NEXT | WRITE, 2);
            })
        }),
        ("RING-D-05", || {
            let mut driver = Driver::up(
                ModelConfig::modern().offer(feature::IN_ORDER),
                USUAL | feature::IN_ORDER,
            );
            let (data, status) = driver.chain(0, GET_ID, 0, &[], 20);
            driver.desc(1, data, 20, NEXT | WRITE, 3);
            driver.desc(3, status, 1, WRITE, 0);
            driver.serve(0);
            driver
        }),
        ("RING-D-10", || {
            let bits = feature::IN_ORDER | feature::INDIRECT_DESC;
            let mut driver = Driver::up(ModelConfig::modern().offer(bits), USUAL | bits);
            let (data, status) = driver.chain(0, GET_ID, 0, &[], 20);
            let table = in_table(&mut driver, 4, INDIRECT);
            driver.desc_at(table, 1, data, 20, NEXT | WRITE, 3);
            driver.desc_at(table, 3, status, 1, WRITE, 0);
            driver.serve(0);
            driver
        }),
        ("RING-D-11", || {
            let mut driver = Driver::usual();
            driver.request(FLUSH, 0, &[], 0);
            driver.put16(driver.avail + 2, 0);
            driver.notify();
            driver
        }),
        ("RING-N-14", || {
            let mut driver = Driver::usual();
            driver.chain(0, FLUSH, 0, &[], 0);
            for _ in 0..17 {
                driver.publish(0);
            }
            driver.notify();
            driver
        }),
        ("RING-D-12", || {
            let mut driver = Driver::usual();
            driver.put16(driver.avail, 2);
            driver.request(FLUSH, 0, &[], 0);
            driver
        }),
        ("RING-D-14", || {
            let mut driver = Driver::up(ModelConfig::modern(), USUAL | feature::EVENT_IDX);
            driver.put16(driver.avail, 1);
            driver.request(FLUSH, 0, &[], 0);
            driver
        }),
        ("INIT-D-21", || {
            let mut driver = Driver::usual();
            driver.chain(0, FLUSH, 0, &[], 0);
            driver.publish(0);
            driver.notify();
            driver.model.hold(1);
            driver.put16(driver.table + 14, 9);
            driver.model.complete_held();
            driver
        }),
        ("INIT-D-21", || {
            let mut driver = Driver::usual();
            driver.chain(0, FLUSH, 0, &[], 0);
            driver.publish(0);
            driver.notify();
            driver.model.hold(1);
            driver.publish(0);
            driver.notify();
            driver.model.hold(1);
            driver
        }),
        ("INIT-D-22", || {
            let mut driver = Driver::usual();
            driver.chain(0, FLUSH, 0, &[], 0);
            driver.publish(0);
            let status = driver.regions.pop().unwrap();
            driver.dma.release(status);
            driver
        }),
        ("INIT-D-22", || {
            let mut driver = Driver::usual();
            let queue = driver.regions.remove(0);
            driver.dma.release(queue);
            driver
        }),
        ("INIT-D-22", || {
            let mut driver = Driver::usual();
            driver.status(0);
            let queue = driver.regions.remove(0);
            driver.dma.release(queue);
            driver
        }),
        ("MMIO-N-08", || {
            let driver = Driver::usual();
            driver.regs.write_u32(0x050, 1);
            driver
        }),
        ("MMIO-N-08", || {
            let driver = Driver::usual();
            driver.regs.write_u32(0x050, 1 << 16);
            driver
        }),
        ("NOTF-N-02", || {
            let bits = feature::NOTIFICATION_DATA;
            let mut driver = Driver::up(ModelConfig::modern().offer(bits), USUAL | bits);
            driver.chain(0, FLUSH, 0, &[], 0);
            driver.publish(0);
            driver.regs.write_u32(0x050, 1 << 16);
            driver.model.assert_clean();
            driver.regs.write_u32(0x050, 0);
            driver
        }),
    ]);
}

#[test]
fn memory_may_be_given_back_after_a_reset_was_seen() {
    let mut driver = Driver::usual();
    driver.chain(0, FLUSH, 0, &[], 0);
    driver.publish(0);
    driver.status(0);
    assert_eq!(driver.regs.read_u32(0x070), 0);
    for region in driver.regions.drain(..) {
        driver.dma.release(region);
    }
    assert_eq!(driver.model.allocations(), 0);
    driver.model.assert_clean();
}

#[test]
fn requests() {
    fn asked(kind: u32, sector: u64, out: &[u8], room: u32) -> Driver {
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
        let mut driver = Driver::up(config, USUAL | offers);
        driver.request(kind, sector, out, room);
        driver
    }
    let two = || [range(0, 1, 0), range(1, 1, 0)].concat();
    assert_eq!(two().len(), 32);
    check(&[
        ("BLK-D-12", || asked(IN, 16384, &[], 512)),
        ("BLK-D-12", || asked(OUT, 16383, &content(2, 0), 0)),
        ("BLK-D-12", || asked(IN, u64::MAX, &[], 512)),
        ("BLK-D-12", || asked(DISCARD, 0, &range(16384, 1, 0), 0)),
        ("BLK-D-14", || asked(FLUSH, 1, &[], 0)),
        ("BLK-D-15", || asked(FLUSH, 0, &[0; 8], 0)),
        ("BLK-D-16", || asked(IN, 0, &[], 513)),
        ("BLK-D-16", || asked(OUT, 0, &[0; 100], 0)),
        ("BLK-D-16", || asked(IN, 0, &[], 0)),
        ("BLK-D-17", || asked(DISCARD, 0, &[0; 24], 0)),
        ("BLK-D-17", || asked(WRITE_ZEROES, 0, &[], 0)),
        ("BLK-D-18", || asked(GET_ID, 0, &[], 512)),
        ("BLK-D-19", || {
            asked(DISCARD, 0, &[range(0, 1, 0), range(1, 1, 0)].concat(), 0)
        }),
        ("BLK-D-20", || {
            asked(SECURE_ERASE, 0, &[range(0, 1, 0), range(1, 1, 0)].concat(), 0)
        }),
        ("BLK-D-21", || {
            asked(WRITE_ZEROES, 0, &[range(0, 1, 0), range(1, 1, 0)].concat(), 0)
        }),
        ("BLK-D-24", || asked(DISCARD, 0, &range(0, 1, 1), 0)),
        ("BLK-N-11", || asked(WRITE_ZEROES, 0, &range(0, 1, 2), 0)),
        ("BLK-N-11", || asked(SECURE_ERASE, 0, &range(0, 1, 1), 0)),
        ("BLK-N-09", || asked(DISCARD, 0, &range(0, 9, 0), 0)),
        ("BLK-N-06", || asked(DISCARD, 1, &range(0, 1, 0), 0)),
        ("BLK-N-06", || asked(GET_ID, 1, &[], 20)),
        ("BLK-N-17", || asked(GET_LIFETIME, 0, &[], 8)),
        ("BLK-N-04", || asked(IN, 0, &[], 8192)),
        ("BLK-N-05", || {
            let mut driver = asked(IN, 0, &[], 512);
            driver.request(IN, 0, &[0; 512], 512);
            driver
        }),
        ("BLK-N-04", || {
            let mut driver = asked(IN, 0, &[], 512);
            let (data, status) = driver.chain(0, IN, 0, &[], 512);
            driver.desc(1, data, 500, NEXT | WRITE, 2);
            driver.desc(2, data + 500, 12, NEXT | WRITE, 3);
            driver.desc(3, status, 1, WRITE, 0);
            driver.serve(0);
            driver
        }),
        ("BLK-N-05", || {
            let mut driver = Driver::usual();
            let (_, status) = driver.chain(0, FLUSH, 0, &[], 0);
            driver.desc(0, status, 1, NEXT, 1);
            driver.serve(0);
            assert_eq!(driver.regs.read_u32(0x070), 0x4F, "the device cannot go on");
            driver
        }),
        ("BLK-N-05", || {
            let mut driver = Driver::usual();
            let header = driver.header(FLUSH, 0);
            driver.desc(0, header, 16, 0, 0);
            driver.serve(0);
            driver
        }),
        ("BLK-N-07", || {
            let mut driver = Driver::usual();
            driver.chain(0, FLUSH, 0, &[], 0);
            let header = u64::from_le_bytes(driver.get(driver.table, 8).try_into().unwrap());
            driver.put(header + 4, &[1]);
            driver.serve(0);
            driver
        }),
        ("BLK-N-08", || {
            let mut driver = Driver::up(ModelConfig::modern().offer(feature::RO), USUAL | feature::RO);
            driver.request(OUT, 0, &content(1, 0), 0);
            driver
        }),
        ("BLK-N-03", || {
            let mut driver = Driver::up(
                ModelConfig {
                    block_size: 4096,
                    ..ModelConfig::modern()
                },
                USUAL,
            );
            assert_eq!(driver.request(IN, 8, &[], 4096).0, 0);
            driver.model.assert_clean();
            assert_eq!(driver.request(IN, 1, &[], 4096).0, 1);
            driver
        }),
        ("BLK-D-01", || {
            let mut driver = Driver::up(ModelConfig::modern(), feature::VERSION_1);
            assert_eq!(driver.request(FLUSH, 0, &[], 0).0, 2);
            driver
        }),
        ("FEAT-D-01", || {
            let mut driver = Driver::usual();
            assert_eq!(driver.request(SECURE_ERASE, 0, &range(0, 1, 0), 0).0, 2);
            driver
        }),
        ("LEG-D-29", || {
            let mut driver = legacy();
            let header = driver.header(IN, 0);
            let tail = driver.allocate(513);
            driver.desc(0, header, 16, NEXT, 1);
            driver.desc(1, tail, 513, WRITE, 0);
            driver.serve(0);
            driver
        }),
    ]);
}

#[test]
fn zone_rules() {
    fn zoned() -> Driver {
        let zones = Zones {
            write_granularity: 1024,
            ..Zones::default()
        };
        let config = ModelConfig {
            zones,
            ..ModelConfig::modern().offer(feature::ZONED | feature::SECURE_ERASE)
        };
        Driver::up(
            config,
            USUAL & !feature::DISCARD | feature::ZONED | feature::SECURE_ERASE,
        )
    }
    fn asked(kind: u32, sector: u64, out: &[u8], room: u32) -> Driver {
        let mut driver = zoned();
        driver.request(kind, sector, out, room);
        driver
    }
    check(&[
        ("BLK-D-28", || asked(16, 16384, &[], 128)),
        ("BLK-D-30", || asked(18, 65, &[], 0)),
        ("BLK-D-31", || asked(26, 64, &[], 0)),
        ("BLK-D-32", || asked(15, 65, &content(2, 0), 8)),
        ("BLK-D-33", || asked(15, 64, &content(1, 0), 8)),
        ("BLK-D-34", || asked(15, 64, &content(18, 0), 8)),
        ("BLK-D-36", || asked(OUT, 64, &content(1, 0), 0)),
        ("BLK-D-37", || asked(OUT, 65, &content(2, 0), 0)),
        ("BLK-D-38", || asked(OUT, 126, &content(4, 0), 0)),
        ("BLK-D-39", || asked(SECURE_ERASE, 0, &range(64, 32, 0), 0)),
    ]);
}

#[test]
fn a_clean_driver_is_found_clean_and_a_dirty_one_is_told() {
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
