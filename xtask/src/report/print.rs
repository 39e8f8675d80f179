//! A report as one screen for a person: what was found, what was tested, what the host compared, how long it took.

use std::fmt::Write;

use guest_protocol::{Outcome, Record, SECTOR_BYTES, Since};
use indicatif::BinaryBytes;
use virtio_blk_proto::BlkFeatures;
use virtio_core::Features;

use super::parse::{Guest, records, total};
use super::{Report, Share, block_test};
use crate::cli::QemuArgs;
use crate::disk::Input;
use crate::minix::scenario::must_fail;

/// Columns of the screen.
const WIDTH: usize = 80;
/// The column where the second part of a row begins.
const SECOND: usize = 14;
/// How the lines of the service's log begin.
const LOG: &str = "virtio-blk-mmio: ";
/// Rows for the devices, and for the partitions, of a disk that has many.
const ROWS: usize = 8;
/// Lines of the console that are shown where the guest did not come to its end.
const TAIL: usize = 12;

/// The screen of a run. `console` is all that the guest printed.
pub(crate) fn screen(report: &Report, args: &QemuArgs, input: Option<&Input>, console: &str) -> Vec<String> {
    let mut screen = Screen::default();
    let what = match args.bare {
        true => "the driver alone (bare image)".to_owned(),
        false => format!("the MINIX service in the test kernel, scenario {}", scenario_name(args)),
    };
    screen.lines.push(format!("QEMU {}: {what}", report.qemu_version));
    screen.found(report, console);
    screen.tested(&report.guest, args.verbose);
    screen.measured(&report.guest);
    screen.service(report);
    screen.compared(report, input);
    screen.times(report);
    screen.failed(report, console);
    screen
        .lines
        .push(if report.passed { "PASS" } else { "FAIL" }.to_owned());
    screen.lines
}

fn scenario_name(args: &QemuArgs) -> String {
    let value = clap::ValueEnum::to_possible_value(&args.scenario());
    value.map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[derive(Default)]
struct Screen {
    lines: Vec<String>,
    /// The heading that the next row needs before it.
    heading: &'static str,
}

impl Screen {
    fn line(&mut self, line: String) {
        if !self.heading.is_empty() {
            self.lines.push(std::mem::take(&mut self.heading).to_owned());
        }
        self.lines.push(line);
    }

    /// A name, and text that goes on below itself where it is long.
    fn row(&mut self, name: &str, text: &str) {
        let indent = SECOND - 2;
        let mut line = format!("  {name:<indent$}");
        for word in text.split_whitespace() {
            if line.chars().count() + word.chars().count() + 1 > WIDTH && line.len() > SECOND {
                let full = std::mem::replace(&mut line, " ".repeat(SECOND));
                self.line(full.trim_end().to_owned());
            } else if line.len() > SECOND {
                line.push(' ');
            }
            line += word;
        }
        self.line(line.trim_end().to_owned());
    }

    /// Something that is counted.
    fn count(&mut self, what: &str, result: &str) {
        let (result_width, indent) = (result.chars().count(), 2);
        let width = WIDTH.saturating_sub(result_width + indent + 1);
        let what = cut(what, width);
        self.line(format!("  {what:<width$} {result}"));
    }

    fn found(&mut self, report: &Report, console: &str) {
        self.heading = "Found";
        let guest = &report.guest;
        if let Some(device) = guest.device() {
            let layout = if device.version == 1 { "legacy" } else { "modern" };
            let access = if device.read_only { "read-only" } else { "read-write" };
            self.row(
                "device",
                &format!("virtio-mmio block device ({layout}), id \"{}\"", device.id),
            );
            let (size, block) = (
                size(device.capacity.saturating_mul(SECTOR_BYTES as u64)),
                device.block_bytes,
            );
            self.row("disk", &format!("{size}, blocks of {block} bytes, {access}"));
            self.row("queue", &format!("{} descriptors", device.queue_size));
            let [low, high] = device.accepted;
            self.row("features", &feature_names(u128::from(high) << 64 | u128::from(low)));
        }
        // The service tells people, not the host.
        let mut log: Vec<&str> = Vec::new();
        for line in console.lines().filter_map(|line| line.trim_end().strip_prefix(LOG)) {
            if !log.contains(&line) {
                log.push(line);
            }
        }
        for (name, begin) in [("device", "block device "), ("disk", "capacity ")] {
            let lines = log.iter().filter_map(|line| line.strip_prefix(begin));
            for line in lines.filter(|line| !line.starts_with("live")).take(ROWS) {
                self.row(name, line);
            }
        }
        let features = log
            .iter()
            .filter_map(|line| line.split_once("features 0x")?.1.split([',', ' ']).next());
        let mut features: Vec<&str> = features.collect();
        features.dedup();
        for bits in features
            .into_iter()
            .filter_map(|hex| u128::from_str_radix(hex, 16).ok())
            .take(2)
        {
            self.row("features", &feature_names(bits));
        }
        let mut partitions = Vec::new();
        for reported in &guest.records {
            if let Record::Partition {
                number: number @ 1..,
                first_byte,
                bytes,
                ..
            } = reported.record
            {
                let sector = first_byte / SECTOR_BYTES as u64;
                let disk = if reported.disk > 0 { ", second disk" } else { "" };
                let partition = (number, format!("{} from sector {sector} on{disk}", size(bytes)));
                if !partitions.contains(&partition) {
                    partitions.push(partition);
                }
            }
        }
        for (number, text) in partitions.iter().take(ROWS) {
            self.row(&format!("partition {number}"), text);
        }
        if partitions.len() > ROWS {
            self.row("", &format!("and {} partitions more", partitions.len() - ROWS));
        }
    }

    fn tested(&mut self, guest: &Guest, verbose: bool) {
        self.heading = "Tested";
        self.block_tests(guest, verbose);
        let tests = guest.records.iter().filter_map(|reported| match reported.record {
            Record::Test {
                number: 0,
                name,
                outcome,
                detail,
                ..
            } => Some((reported.client, name, outcome, detail)),
            _ => None,
        });
        let tests: Vec<_> = tests.collect();
        let mut programs = vec![""];
        let program = |client: &str| {
            records!(guest, Record::Started { label, program, .. } if label == client => program)
                .next()
                .unwrap_or("")
        };
        for (client, ..) in &tests {
            if !programs.contains(&program(client)) {
                programs.push(program(client));
            }
        }
        for of in programs {
            let of_program: Vec<_> = tests.iter().filter(|(client, ..)| program(client) == of).collect();
            let mut names: Vec<&str> = of_program.iter().map(|(_, name, ..)| *name).collect();
            names.sort_unstable();
            names.dedup();
            let what = match of_program.as_slice() {
                [] => continue,
                [(.., detail)] if !detail.is_empty() => format!("{of}: {detail}"),
                _ if of.is_empty() => "self-test".to_owned(),
                _ => format!("{of}: {}", names.join(", ")),
            };
            self.count(&what, &outcomes(of_program.iter().map(|(_, _, outcome, _)| *outcome)));
        }
        for (_, name, _, why) in tests.iter().filter(|(.., outcome, _)| *outcome == Outcome::Skip) {
            self.row("", &format!("{name} left out: {why}"));
        }
        if let Some((passed, failed)) = guest.done()
            && records!(guest, Record::Started { .. } => ()).next().is_some()
        {
            let must = records!(guest, Record::Started { label, .. } if must_fail(label) => ()).count() as u64;
            let note = match must {
                0 => String::new(),
                _ => format!(", {must} refused as it must be"),
            };
            let (fine, of) = (total([passed, must.min(failed)]), total([passed, failed]));
            self.count(&format!("statements of the scenario{note}"), &format!("{fine} of {of}"));
        }
    }

    /// The groups of the block test, one column for each run of it; with `verbose` each check.
    fn block_tests(&mut self, guest: &Guest, verbose: bool) {
        let runs = guest.block_tests();
        let column = if runs.len() > 2 { 10 } else { 13 };
        let width = WIDTH - 2 - column * runs.len().min(4);
        let mut row = |name: &str, cells: Vec<String>| {
            let cells: String = cells.iter().map(|cell| format!("{cell:>column$}")).collect();
            self.line(format!("  {:<width$}{cells}", cut(name, width)));
        };
        if runs.is_empty() {
            return;
        }
        let heading = |run: &&str| match *run {
            "blocktest" => "contiguous".to_owned(),
            "blocktest_sc" => "scattered".to_owned(),
            other => other.to_owned(),
        };
        row(
            "block test, by memory of the client",
            runs.iter().map(heading).collect(),
        );
        let mut groups: Vec<&str> = Vec::new();
        for (group, number, ..) in runs.iter().flat_map(|run| guest.tests_of(run)) {
            if number > 0 && !groups.contains(&group) {
                groups.push(group);
            }
        }
        for group in groups {
            let of = |run: &&str| guest.tests_of(run).filter(|test| test.0 == group).collect::<Vec<_>>();
            let cell = |run| outcomes(of(run).iter().map(|(.., outcome)| *outcome));
            row(&format!("  {group}"), runs.iter().map(cell).collect());
            for number in (1..=block_test::CHECKS).filter(|_| verbose) {
                let of_number = |run| of(run).into_iter().filter(move |test| test.1 == number);
                let Some((.., name, _)) = runs.iter().flat_map(of_number).next() else {
                    continue;
                };
                let cell = |run| outcomes(of_number(run).map(|(.., outcome)| outcome));
                row(&format!("    {number:>2} {name}"), runs.iter().map(cell).collect());
            }
        }
    }

    fn measured(&mut self, guest: &Guest) {
        self.heading = "Measured                 MB/s     IOPS    us/request     notifies   interrupts";
        for reported in &guest.records {
            let Record::Bench {
                name,
                depth,
                bytes,
                ops: ops @ 1..,
                micros: micros @ 1..,
                notifies,
                interrupts,
                ..
            } = reported.record
            else {
                continue;
            };
            let (requests, time) = (ops as f64, micros as f64);
            self.line(format!(
                "  {:<17}{:>10.1} {:>8.0} {:>13.2} {:>12.2} {:>12.2}",
                cut(&format!("{name} x{depth}"), 17),
                requests * bytes as f64 / time,
                requests * 1e6 / time,
                time / requests,
                notifies as f64 / requests,
                interrupts as f64 / requests
            ));
        }
    }

    /// What became of the services.
    fn service(&mut self, report: &Report) {
        self.heading = "Service";
        let guest = &report.guest;
        let kills: Vec<u64> = records!(guest, Record::Killed { in_flight, .. } => in_flight).collect();
        let restarts = records!(guest, Record::Restarted { .. } => ()).count();
        if !kills.is_empty() {
            let in_flight = total(kills.iter().copied());
            let kills = kills.len();
            self.row(
                "kills",
                &format!("{kills}, {restarts} restarts, {in_flight} requests not answered at a kill"),
            );
            let loads = guest.loads();
            let sum = |of: fn(&guest_protocol::Load<'_>) -> u64| total(loads.iter().map(of));
            self.row(
                "load",
                &format!(
                    "{} clients: {} reads, {} writes acknowledged, {} sent again, {} opens again",
                    loads.len(),
                    sum(|load| load.reads),
                    sum(|load| load.writes),
                    sum(|load| load.retried),
                    sum(|load| load.reopened)
                ),
            );
        }
        if restarts > 0 {
            let (mut frames, mut before, mut after) = (0, 0, 0);
            for looked in
                records!(guest, Record::Poison { frames, before, after } => [frames, before, after].map(u128::from))
            {
                frames += looked[0];
                before += looked[1];
                after += looked[2];
            }
            self.row(
                "memory",
                &format!(
                    "{frames} frames of dead instances: {before} changed before the replacement answered, {after} later"
                ),
            );
        }
        for (name, label, instructions, micros) in records!(guest, Record::Measure { name, label, instructions, micros } => (name, label, instructions, micros))
        {
            let percent = instructions as f64 / (micros as f64 * 10.0);
            let seconds = micros as f64 / 1e6;
            self.row(
                name,
                &format!("{label}: {instructions} instructions in {seconds:.3} s, {percent:.3} % of a hart at 1000 a microsecond"),
            );
        }
        for (label, micros, since, status) in
            records!(guest, Record::Down { label, micros, since, status, .. } => (label, micros, since, status))
        {
            let event = match since {
                Since::Term => "SIGTERM",
                Since::Close => "the last close",
            };
            let reset = if status == 0 { "reset" } else { "NOT RESET" };
            let millis = micros as f64 / 1e3;
            self.row(
                "stopped",
                &format!("{label}, {millis:.1} ms after {event}, its device {reset}"),
            );
        }
    }

    fn compared(&mut self, report: &Report, input: Option<&Input>) {
        self.heading = "Compared on the host after power-off";
        let host = &report.host;
        for (what, share) in [
            ("sampled ranges, read alike in the guest and on the host", host.digests),
            ("files of the MINIX file system, read as the host made them", host.files),
        ] {
            let Share { equal, of } = share;
            if of > 0 {
                self.count(what, &format!("{equal} of {of}"));
            }
        }
        if let Some(comparison) = &host.comparison {
            let changed = comparison.changed_as_reported;
            let reported = changed + comparison.not_as_reported;
            self.count(
                "sectors that the guest changed, as it reported",
                &format!("{changed} of {reported}"),
            );
            let others = comparison.compared - reported;
            let unchanged = others - comparison.unexpected;
            self.count("all other sectors, unchanged", &format!("{unchanged} of {others}"));
        }
        if let Some(most) = host.requests_at_once {
            self.count(
                "most requests in the device at once, as QEMU saw them",
                &most.to_string(),
            );
        }
        if let Some(flushes) = host.flushes_after_writes {
            self.count(
                "flushes after the last write, as the device saw them",
                &flushes.to_string(),
            );
        }
        for seen in host.backends.iter().filter_map(|seen| seen.report.as_ref()) {
            let (reads, writes, flushes) = (seen.reads, seen.writes, seen.flushes);
            let most = seen.most_data_descriptors;
            self.count(
                &format!("requests to the back-end, up to {most} data descriptors each"),
                "",
            );
            self.count(&format!("  {reads} reads, {writes} writes, {flushes} flushes"), "");
        }
        if let (Some(unchanged), Some(input)) = (host.file_unchanged, input) {
            self.count(&input.name(), if unchanged { "unchanged" } else { "HAS CHANGED" });
        }
    }

    fn times(&mut self, report: &Report) {
        let mut text = format!("{:.1} s in all", report.seconds);
        let records = &report.guest.records;
        for (label, at) in records.iter().filter_map(|reported| match reported.record {
            Record::Started { label, .. } => Some((label, reported.at)),
            _ => None,
        }) {
            let mut ends = records.iter().filter(|reported| reported.at >= at);
            let ended = ends.find(|reported| matches!(reported.record, Record::Ended { label: of, .. } if of == label));
            // Services run from one end to the other.
            if let Some(ended) = ended.filter(|ended| ended.at - at >= 0.05 && !label.starts_with("virtio_blk")) {
                let _ = write!(text, ", {label} {:.1}", ended.at - at);
            }
        }
        self.heading = "";
        if report.seconds > 0.0 {
            let line = "Time".to_owned();
            let indent = self.lines.len();
            self.row("", &text);
            if let Some(first) = self.lines.get_mut(indent) {
                first.replace_range(..line.len(), &line);
            }
        }
    }

    fn failed(&mut self, report: &Report, console: &str) {
        self.heading = "Failed";
        for reason in &report.reasons {
            self.line(format!("  {reason}"));
        }
        if !report.passed && report.guest.done().is_none() {
            self.heading = "The last lines of the console";
            let lines: Vec<&str> = console.lines().collect();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                self.line(format!("  {line}"));
            }
        }
    }
}

/// How many of the tests that apply passed.
fn outcomes(outcomes: impl Iterator<Item = Outcome>) -> String {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for outcome in outcomes {
        *match outcome {
            Outcome::Pass => &mut passed,
            Outcome::Fail => &mut failed,
            Outcome::Skip => &mut skipped,
        } += 1;
    }
    match (passed + failed, skipped) {
        (0, 0) => "-".to_owned(),
        (0, _) => "left out".to_owned(),
        (of, _) => format!("{passed} of {of}"),
    }
}

/// The names of a set of features.
fn feature_names(bits: u128) -> String {
    let common = Features::from_bits_retain(bits);
    let block = BlkFeatures::from_bits_retain(bits as u64);
    let names = block.iter_names().map(|(name, flag)| (name, u128::from(flag.bits())));
    let names: Vec<_> = names
        .chain(common.iter_names().map(|(name, flag)| (name, flag.bits())))
        .collect();
    let unnamed = names.iter().fold(bits, |bits, (_, flag)| bits & !flag);
    let unnamed = (0..u128::BITS)
        .filter(|bit| unnamed >> bit & 1 == 1)
        .map(|bit| format!("bit-{bit}"));
    let names = names.iter().map(|(name, _)| (*name).to_owned());
    names.chain(unnamed).collect::<Vec<_>>().join(" ")
}

fn size(bytes: u64) -> String {
    BinaryBytes(bytes).to_string().replace(".00 ", " ")
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(3)).collect::<String>() + "..."
}
