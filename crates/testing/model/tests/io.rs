//! The device does what was asked: requests of every type, over both interfaces.

mod common;

use common::*;
use virtio_blk_model::{CompletionOrder, Limits, ModelConfig, Notifications, Service, Zones, feature};
use virtio_mmio::RegisterAccess;

fn both() -> [Driver; 2] {
    [
        Driver::usual(),
        Driver::up(ModelConfig::legacy(), 0x6E54 & !feature::SCSI),
    ]
}

#[test]
fn what_is_written_is_read_back() {
    for mut driver in both() {
        let data = content(3, 7);
        assert_eq!(driver.request(OUT, 5, &data, 0), (0, vec![], 1));
        assert_eq!(driver.request(IN, 5, &[], 1536), (0, data.clone(), 1537));
        assert_eq!(driver.model.read_disk(5, 3), data);
        assert_eq!(driver.model.read_disk(8, 1), [0; 512]);
        let counters = driver.model.counters();
        assert_eq!((counters.notifies, counters.interrupts, counters.errors), (2, 2, 0));
        driver.model.assert_clean();
    }
}

#[test]
fn descriptor_boundaries_are_free_on_modern_devices() {
    let mut driver = Driver::up(ModelConfig::modern(), USUAL | feature::INDIRECT_DESC);
    driver.model.write_disk(9, &content(1, 1));
    let header = driver.header(IN, 9);
    let tail = driver.allocate(513);
    let table = driver.allocate(48);
    // The header in two pieces, data and status in one, the whole in a table.
    driver.desc_at(table, 0, header, 4, NEXT, 1);
    driver.desc_at(table, 1, header + 4, 12, NEXT, 2);
    driver.desc_at(table, 2, tail, 513, WRITE, 0);
    driver.desc(3, table, 48, INDIRECT, 0);
    driver.publish(3);
    driver.notify();
    assert_eq!(driver.model.process(9), 1);
    assert_eq!(driver.used(), Some((3, 513)));
    assert_eq!(driver.get(tail, 513), [content(1, 1), vec![0]].concat());
    let counters = driver.model.counters();
    assert_eq!((counters.indirect_chains, counters.longest_chain), (1, 3));
    driver.model.assert_clean();
}

#[test]
fn a_direct_chain_may_end_in_a_table() {
    let mut driver = Driver::up(ModelConfig::modern(), USUAL | feature::INDIRECT_DESC);
    let header = driver.header(GET_ID, 0);
    let tail = driver.allocate(21);
    let table = driver.allocate(16);
    driver.desc(0, header, 16, NEXT, 1);
    driver.desc(1, table, 16, INDIRECT, 0);
    driver.desc_at(table, 0, tail, 21, WRITE, 0);
    driver.publish(0);
    driver.notify();
    driver.model.process(1);
    assert_eq!(driver.used(), Some((0, 21)));
    assert_eq!(driver.get(tail, 9), b"model-0.1");
    driver.model.assert_clean();
}

#[test]
fn identification_and_lifetime() {
    let config = ModelConfig::modern().offer(feature::LIFETIME);
    let mut driver = Driver::up(config, USUAL | feature::LIFETIME);
    let (status, id, len) = driver.request(GET_ID, 0, &[], 20);
    assert_eq!((status, &id[..10], len), (0, &b"model-0.1\0"[..], 21));
    assert_eq!(driver.request(GET_LIFETIME, 0, &[], 6), (0, vec![1, 0, 2, 0, 3, 0], 7));
    driver.model.assert_clean();
}

#[test]
fn ranges_are_zeroed_discarded_and_erased() {
    let two = Limits {
        max_segments: 2,
        ..Limits::default()
    };
    let config = ModelConfig {
        write_zeroes: two,
        discard: two,
        ..ModelConfig::modern().offer(feature::SECURE_ERASE)
    };
    let mut driver = Driver::up(config, USUAL | feature::SECURE_ERASE);
    driver.model.write_disk(0, &content(8, 0));
    let zeroes = [range(1, 1, 1), range(3, 1, 0)].concat();
    assert_eq!(driver.request(WRITE_ZEROES, 0, &zeroes, 0).0, 0);
    assert_eq!(driver.request(DISCARD, 0, &range(5, 1, 0), 0).0, 0);
    assert_eq!(driver.request(SECURE_ERASE, 0, &range(6, 1, 0), 0).0, 0);
    let (now, was) = (driver.model.read_disk(0, 8), content(8, 0));
    let sector = |bytes: &[u8], i: usize| bytes[i * 512..][..512].to_vec();
    for kept in [0, 2, 4, 7] {
        assert_eq!(sector(&now, kept), sector(&was, kept));
    }
    for zero in [1, 3] {
        assert_eq!(sector(&now, zero), [0; 512]);
    }
    for gone in [5, 6] {
        assert_ne!(sector(&now, gone), sector(&was, gone));
        assert_ne!(sector(&now, gone), [0; 512]);
    }
    driver.model.assert_clean();
}

#[test]
fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let mut driver = Driver::usual();
    let end = 16384;
    assert_eq!(driver.request(IN, end, &[], 512), (1, vec![0; 512], 1));
    assert_eq!(driver.request(OUT, u64::MAX, &content(1, 0), 0).0, 1);
    assert_eq!(driver.request(OUT, end - 1, &content(2, 0), 0).0, 1);
    assert_eq!(driver.request(DISCARD, 0, &range(end, 1, 0), 0).0, 1);
    assert_eq!(driver.request(DISCARD, 0, &range(0, 1, 1), 0).0, 2);
    assert_eq!(driver.request(77, 0, &[], 0).0, 2);
    assert_eq!(driver.request(SECURE_ERASE, 0, &range(0, 1, 0), 0).0, 2);
    assert_eq!(driver.request(16, 0, &[], 128).0, 2);
    assert_eq!(driver.model.read_disk(end - 1, 1), [0; 512]);
    assert_eq!(driver.model.counters().errors, 8);
}

#[test]
fn a_read_only_disk_is_not_written() {
    let mut driver = Driver::up(ModelConfig::modern().offer(feature::RO), USUAL | feature::RO);
    assert_eq!(driver.request(OUT, 0, &content(1, 0), 0).0, 1);
    assert_eq!(driver.request(WRITE_ZEROES, 0, &range(0, 1, 0), 0).0, 1);
    assert_eq!(driver.model.read_disk(0, 1), [0; 512]);
}

#[test]
fn only_flushed_writes_survive_a_power_cut() {
    let mut driver = Driver::usual();
    driver.request(OUT, 0, &content(1, 1), 0);
    assert_eq!(driver.request(FLUSH, 0, &[], 0), (0, vec![], 1));
    driver.request(OUT, 1, &content(1, 2), 0);
    assert_eq!(driver.model.unflushed_sectors(), 1);
    driver.model.power_cut();
    assert_eq!(driver.model.read_disk(0, 2), [content(1, 1), vec![0; 512]].concat());
}

#[test]
fn in_write_through_mode_every_write_survives() {
    let mut driver = Driver::usual();
    driver.regs.write_u8(0x120, 0);
    assert!(!driver.model.writeback());
    assert_eq!(driver.regs.read_u8(0x120), 0);
    driver.request(OUT, 1, &content(1, 2), 0);
    assert_eq!(driver.model.unflushed_sectors(), 0);
    driver.model.assert_clean();

    // Neither FLUSH nor CONFIG_WCE accepted though offered: write-through as well.
    let mut driver = Driver::up(ModelConfig::modern(), feature::VERSION_1);
    driver.request(OUT, 1, &content(1, 2), 0);
    assert_eq!(driver.model.unflushed_sectors(), 0);
    // No flush offered: nothing the driver can do.
    let mut driver = Driver::up(
        ModelConfig::modern().withdraw(feature::FLUSH | feature::CONFIG_WCE),
        feature::VERSION_1,
    );
    driver.request(OUT, 1, &content(1, 2), 0);
    assert_eq!(driver.model.unflushed_sectors(), 1);
}

/// Publishes reads of sectors 0 to 3 and returns the heads in the order they come back.
fn order_of(driver: &mut Driver) -> Vec<u32> {
    for i in 0..4 {
        driver.chain(4 * i, IN, u64::from(i), &[], 512);
        driver.publish(4 * i);
    }
    driver.notify();
    assert_eq!(driver.model.pending(), 4);
    assert_eq!(driver.model.process(usize::MAX), 4);
    std::iter::from_fn(|| driver.used()).map(|(id, _)| id).collect()
}

#[test]
fn completions_come_in_the_order_asked_for() {
    let mut driver = Driver::usual();
    assert_eq!(order_of(&mut driver), [0, 4, 8, 12]);
    driver.model.set_order(CompletionOrder::Reverse);
    assert_eq!(order_of(&mut driver), [12, 8, 4, 0]);
    let shuffled: Vec<_> = [1, 2, 3, 1]
        .into_iter()
        .map(|seed| {
            let mut driver = Driver::usual();
            driver.model.set_order(CompletionOrder::Shuffled(seed));
            (0..4).map(|_| order_of(&mut driver)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(shuffled[0], shuffled[3], "the same seed, the same order");
    assert_ne!(shuffled[0], shuffled[1]);
    driver.model.assert_clean();
}

#[test]
fn nothing_is_served_in_the_doorbell_unless_asked() {
    let mut driver = Driver::usual();
    driver.chain(0, FLUSH, 0, &[], 0);
    driver.publish(0);
    driver.notify();
    assert_eq!((driver.model.pending(), driver.used()), (1, None));
    driver.model.set_service(Service::OnNotify);
    driver.notify();
    assert_eq!(driver.used(), Some((0, 1)));
    assert_eq!(driver.model.counters().unneeded_notifies, 1);
}

#[test]
fn held_requests_come_back_later() {
    let mut driver = Driver::usual();
    driver.chain(0, FLUSH, 0, &[], 0);
    driver.publish(0);
    driver.notify();
    assert_eq!(driver.model.hold(9), 1);
    assert_eq!(driver.model.process(9), 0);
    assert_eq!(driver.used(), None);
    assert_eq!(driver.model.complete_held(), 1);
    assert_eq!(driver.used(), Some((0, 1)));
    driver.model.assert_clean();
}

#[test]
fn interrupts_follow_the_flag() {
    let mut driver = Driver::usual();
    driver.put16(driver.avail, 1);
    driver.request(FLUSH, 0, &[], 0);
    assert!(!driver.model.interrupt_line());
    driver.put16(driver.avail, 0);
    driver.request(FLUSH, 0, &[], 0);
    assert_eq!(driver.regs.read_u32(0x060), 1);
    driver.regs.write_u32(0x064, 1);
    assert!(!driver.model.interrupt_line());
    driver.model.assert_clean();
}

#[test]
fn interrupts_follow_used_event() {
    let mut driver = Driver::up(ModelConfig::modern(), USUAL | feature::EVENT_IDX);
    let used_event = driver.avail + 4 + 2 * 16;
    driver.put16(used_event, 2);
    for (nth, wanted) in [(0, false), (1, false), (2, true), (3, false)] {
        driver.request(FLUSH, 0, &[], 0);
        assert_eq!(driver.model.interrupt_line(), wanted, "completion {nth}");
        driver.regs.write_u32(0x064, 1);
    }
    driver.model.assert_clean();
}

#[test]
fn notifications_follow_avail_event_or_the_flag() {
    let mut driver = Driver::up(ModelConfig::modern(), USUAL | feature::EVENT_IDX);
    let avail_event = driver.used + 4 + 8 * 16;
    assert_eq!(driver.get16(driver.used) & 1, 1, "misleading flag");
    driver.request(FLUSH, 0, &[], 0);
    assert_eq!(driver.get16(avail_event), 1);

    let config = ModelConfig {
        notifications: Notifications::Never,
        ..ModelConfig::modern()
    };
    let mut driver = Driver::up(config, USUAL);
    assert_eq!(driver.get16(driver.used + 4 + 8 * 16), 0x5A5A, "misleading event");
    driver.request(FLUSH, 0, &[], 0);
    assert_eq!(driver.get16(driver.used), 1);
    driver.model.assert_clean();
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
        assert_eq!(driver.ids(), [id]);
    }
}

#[test]
fn what_a_device_saw_when_it_re_armed_is_not_owed() {
    let mut driver = Driver::up(ModelConfig::modern(), USUAL | feature::EVENT_IDX);
    driver.chain(0, FLUSH, 0, &[], 0);
    driver.chain(4, FLUSH, 0, &[], 0);
    driver.publish(0);
    driver.notify();
    // The event index asked for the first one only, so the second one goes out quietly.
    driver.publish(4);
    driver.model.expect_notified();
    // Serves one of two and asks for notifications again, with the other one in plain sight.
    assert_eq!(driver.model.process(1), 1);
    driver.model.expect_notified();
    assert_eq!(driver.model.process(1), 1);
    driver.model.expect_notified();
    driver.model.assert_clean();
}

#[test]
fn indices_wrap_around() {
    for extra in [0, feature::EVENT_IDX] {
        let mut driver = Driver::up(ModelConfig::modern(), USUAL | extra);
        driver.model.set_service(Service::OnNotify);
        driver.chain(0, FLUSH, 0, &[], 0);
        for _ in 0..70_000u32 {
            driver.publish(0);
            driver.notify();
            assert_eq!(driver.used(), Some((0, 1)));
        }
        assert_eq!(driver.model.counters().unneeded_notifies, 0);
        driver.model.assert_clean();
    }
}

#[test]
fn a_resize_is_announced() {
    let driver = Driver::usual();
    let before = driver.regs.read_u32(0x0FC);
    driver.model.resize(0x1_0000_0000);
    assert_eq!(driver.regs.read_u32(0x060), 2);
    assert_ne!(driver.regs.read_u32(0x0FC), before);
    assert_eq!((driver.regs.read_u32(0x100), driver.regs.read_u32(0x104)), (0, 1));
    driver.model.resize_after_reads(1, 0xFFFF_FFFF);
    assert_eq!(
        (driver.regs.read_u32(0x104), driver.regs.read_u32(0x100)),
        (1, 0xFFFF_FFFF)
    );
    driver.model.assert_clean();
}

#[test]
fn a_reset_takes_its_time_and_clears_everything() {
    let config = ModelConfig {
        reset_reads: 2,
        ..ModelConfig::modern()
    };
    let mut driver = Driver::probe(config);
    driver.status(0);
    assert_ne!(driver.regs.read_u32(0x070), 0);
    assert_ne!(driver.regs.read_u32(0x070), 0);
    driver.greet_after_reset();
    assert!(driver.accept(USUAL));
    driver.place_queue(16);
    driver.enable_queue();
    driver.live();
    driver.request(FLUSH, 0, &[], 0);
    driver.status(0);
    while driver.regs.read_u32(0x070) != 0 {}
    assert_eq!((driver.regs.read_u32(0x044), driver.regs.read_u32(0x060)), (0, 0));
    assert_eq!(driver.model.process(1), 0);
    driver.model.assert_clean();
}

#[test]
fn a_device_that_needs_a_reset_serves_nothing() {
    let mut driver = Driver::usual();
    driver.model.needs_reset();
    assert_eq!(driver.regs.read_u32(0x070), 0x4F);
    assert_eq!(driver.regs.read_u32(0x060), 2);
    driver.chain(0, FLUSH, 0, &[], 0);
    driver.publish(0);
    driver.notify();
    assert_eq!(driver.model.process(1), 0);
}

#[test]
fn legacy_queues_are_let_go_of_as_in_qemu_or_as_specified() {
    for (resets, status) in [(true, 0), (false, 7)] {
        let config = ModelConfig {
            legacy_pfn_zero_resets: resets,
            ..ModelConfig::legacy()
        };
        let driver = Driver::up(config, 0);
        driver.regs.write_u32(0x030, 0);
        driver.regs.write_u32(0x040, 0);
        assert_eq!(driver.regs.read_u32(0x070), status);
        assert_eq!(driver.regs.read_u32(0x040), 0);
    }
}

#[test]
fn one_queue_can_be_reset_on_its_own() {
    let config = ModelConfig {
        reset_reads: 1,
        ..ModelConfig::modern()
    };
    let mut driver = Driver::probe(config);
    driver.status(0);
    while driver.regs.read_u32(0x070) != 0 {}
    driver.status(1);
    driver.status(3);
    assert!(driver.accept(USUAL | feature::RING_RESET));
    driver.place_queue(16);
    driver.enable_queue();
    driver.live();
    driver.request(FLUSH, 0, &[], 0);
    driver.regs.write_u32(0x0C0, 1);
    assert_eq!((driver.regs.read_u32(0x0C0), driver.regs.read_u32(0x0C0)), (1, 0));
    assert_eq!(driver.regs.read_u32(0x044), 0);
    driver.place_queue(8);
    driver.enable_queue();
    driver.request(FLUSH, 0, &[], 0);
    driver.model.assert_clean();
}

#[test]
fn nonsense_features_and_words_that_alias() {
    // Of all nonsense, not a host-managed disk: that forbids DISCARD.
    let zones = Zones {
        model: 0,
        ..Zones::default()
    };
    let config = ModelConfig {
        zones,
        ..ModelConfig::modern().offer(!feature::RING_PACKED)
    };
    let driver = Driver::probe(config);
    driver.greet();
    let word = |selector| {
        driver.regs.write_u32(0x014, selector);
        driver.regs.read_u32(0x010)
    };
    assert_eq!((word(0), word(1), word(2)), (0xFFFF_FFFF, 0xFFFF_FFFB, 0xFFFF_FFFB));
    assert!(driver.accept(USUAL));
    driver.model.assert_clean();
}

#[test]
fn memory_is_zeroed_and_never_touches() {
    let mut driver = Driver::usual();
    let first = driver.allocate(4096);
    let second = driver.allocate(1);
    assert!(second > first + 4096);
    driver.put(first, &[7; 4096]);
    let region = driver.regions.remove(driver.regions.len() - 2);
    assert_eq!(region.device_addr().get(), first);
    virtio_core::Dma::release(&mut driver.dma, region);
    assert_eq!(driver.get(first, 4096), [0xDD; 4096]);
    assert_eq!(driver.allocate(4096), first);
    assert_eq!(driver.get(first, 4096), [0; 4096]);
    driver.model.assert_clean();
}
