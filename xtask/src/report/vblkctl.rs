//! What `vblkctl` said, against what the clients did, what QEMU has counted, and what the host set up.

use guest_protocol::SECTOR_BYTES;
use serde_json::Value;

use super::check::{Case, require};
use super::parse::total;
use crate::blockstats::BlockStats;
use crate::cli::Format;
use crate::minix::vblkctl::{Wanted, label, wanted};

/// Lines of `stat -i`: a heading, and as many as were asked for.
const LINES: usize = 3;

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<String>) {
    let guest = &case.ended.guest;
    for Wanted {
        label,
        descriptor,
        text,
    } in wanted(case.args.read_only)
    {
        let output = guest.output(label, descriptor);
        require!(
            findings,
            output.contains(text),
            "{label} did not print `{text}`, but `{}`",
            output.trim_end()
        );
    }
    match json(case, "infojson") {
        Ok(info) => described(case, &info, findings),
        Err(finding) => findings.push(finding),
    }
    if case.args.read_only {
        return;
    }
    let lines = guest.output("lines", 1).lines().count();
    require!(
        findings,
        lines == LINES,
        "stat -i printed {lines} lines, wanted {LINES}"
    );
    let log = guest.output("log", 1);
    require!(
        findings,
        log.contains("reset worked"),
        "the log does not tell of a reset: {log}"
    );
    let statistics = [label::BEFORE, label::AFTER].map(|label| json(case, label));
    match statistics {
        [Ok(before), Ok(after)] => counted(case, &before, &after, findings),
        [before, after] => findings.extend([before.err(), after.err()].into_iter().flatten()),
    }
}

fn json(case: &Case<'_>, label: &str) -> Result<Value, String> {
    let output = case.ended.guest.output(label, 1);
    serde_json::from_str(&output).map_err(|error| format!("{label} printed no JSON: {error}"))
}

/// The disk as the host made it.
fn described(case: &Case<'_>, info: &Value, findings: &mut Vec<String>) {
    let Some(disk) = case.disks.first() else { return };
    let sectors = &info["sectors"];
    require!(
        findings,
        sectors.as_u64() == Some(disk.sectors),
        "info tells {sectors} sectors, the host set up {}",
        disk.sectors
    );
    let partitions = disk.partitions.iter().flatten();
    for (number, (_, range)) in (1..).zip(partitions) {
        let (base, bytes) = (range.first * SECTOR_BYTES as u64, range.count * SECTOR_BYTES as u64);
        let minors = info["minors"].as_array().into_iter().flatten();
        let found = minors.filter(|minor| minor["minor"] == number && minor["base"] == base && minor["bytes"] == bytes);
        require!(
            findings,
            found.count() == 1,
            "info does not tell partition {number} as the host made it"
        );
    }
}

/// What was counted between the two statistics: by the service, by QEMU, and by the clients.
fn counted(case: &Case<'_>, before: &Value, after: &Value, findings: &mut Vec<String>) {
    let new = |path: &str| {
        let number = |value: &Value| value.pointer(path).and_then(Value::as_u64).unwrap_or(u64::MAX);
        number(after).wrapping_sub(number(before))
    };
    let of_kind = |kind: &str, what: &str| new(&format!("/kinds/{kind}/{what}"));
    let [Some(first), Some(last)] = [label::BEFORE, label::AFTER].map(|label| asked(case, label)) else {
        findings.push("QEMU was not asked for its statistics".to_owned());
        return;
    };
    let by_qemu = |count: fn(&BlockStats) -> u64| count(&last).wrapping_sub(count(&first));
    for (what, told, seen) in [
        (
            "reads",
            of_kind("read", "operations"),
            by_qemu(|stats| stats.rd_operations),
        ),
        ("bytes read", of_kind("read", "bytes"), by_qemu(|stats| stats.rd_bytes)),
        // QEMU counts zeroes as writes.
        (
            "writes and zeroes",
            of_kind("write", "operations").wrapping_add(of_kind("zero", "operations")),
            by_qemu(|stats| stats.wr_operations),
        ),
        (
            "bytes written",
            of_kind("write", "bytes").wrapping_add(of_kind("zero", "bytes")),
            by_qemu(|stats| stats.wr_bytes),
        ),
        (
            "flushes",
            of_kind("flush", "operations"),
            by_qemu(|stats| stats.flush_operations),
        ),
    ] {
        require!(
            findings,
            told == seen && told > 0,
            "vblkctl counts {told} {what}, QEMU {seen}"
        );
    }
    let discards = |stats: &BlockStats| stats.discards.map(|seen| (seen.discard_nb_ok, seen.discard_bytes_ok));
    // A file in another format is discarded in other pieces.
    if case.args.format == Some(Format::Raw) || case.args.format.is_none() {
        let told = (of_kind("discard", "operations"), of_kind("discard", "bytes"));
        let seen = discards(&first).zip(discards(&last));
        let seen = seen.map(|(first, last)| (last.0.wrapping_sub(first.0), last.1.wrapping_sub(first.1)));
        require!(
            findings,
            seen == Some(told) && told.0 > 0,
            "vblkctl counts discards and bytes {told:?}, QEMU {seen:?}"
        );
    }
    let loads = case.ended.guest.loads();
    let during = || loads.iter().filter(|load| load.label != "late");
    for (what, told, made) in [
        ("reads", new("/counts/reads"), total(during().map(|load| load.reads))),
        ("writes", new("/counts/writes"), total(during().map(|load| load.writes))),
    ] {
        require!(
            findings,
            u128::from(told) == made && made > 0,
            "vblkctl counts {told} {what} of clients, who made {made}"
        );
    }
    for kind in ["read", "write"] {
        let buckets = |value: &Value| -> u128 {
            let buckets = value
                .pointer(&format!("/kinds/{kind}/latency"))
                .and_then(Value::as_array);
            total(buckets.into_iter().flatten().filter_map(Value::as_u64))
        };
        let timed = buckets(after).wrapping_sub(buckets(before));
        let made = u128::from(new(&format!("/counts/{kind}s")));
        require!(
            findings,
            timed == made,
            "vblkctl counts {made} {kind}s of clients and the latencies of {timed}"
        );
    }
}

fn asked(case: &Case<'_>, wanted: &str) -> Option<BlockStats> {
    let mut stats = case.host.block_stats.iter();
    stats.find(|(label, _)| *label == wanted).map(|(_, stats)| *stats)
}
