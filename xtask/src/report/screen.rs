//! A report as one screen for a person: devices and disks, tests, the comparison on the host, times.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use guest_protocol::{Bus, Device, Load, Outcome, Record, SECTOR_BYTES, Since};
use indicatif::BinaryBytes;
use virtio_blk_proto::BlkFeatures;
use virtio_core::Features;

use super::parse::{Guest, records, total};
use super::{Report, Share, block_test};
use crate::cli::QemuArgs;
use crate::disk::Input;
use crate::minix::programs::SERVICE;
use crate::minix::scenario::must_fail;
use crate::power_cut::examine::Judged;

/// Columns of the screen.
const WIDTH: usize = 80;
/// A space that words stay together at.
const NO_BREAK: &str = "\u{a0}";
/// The column where the second part of a row begins.
const SECOND: usize = 14;
/// How the lines of the service's log begin.
const LOG: &str = "virtio-blk-mmio: ";
/// Rows for devices and disks.
const ROWS: usize = 6;
/// Partitions of a disk that are shown.
const PARTITIONS: usize = 8;
/// Lines of the console that are shown where the guest did not come to its end.
const TAIL: usize = 12;

/// The screen of a run. `console` is all that the guest printed, `log` the file where it is kept.
pub(crate) fn screen(
    report: &Report,
    args: &QemuArgs,
    input: Option<&Input>,
    console: &str,
    log: Option<&Path>,
) -> Vec<String> {
    let mut screen = Screen::default();
    let what = match args.bare {
        true => "The driver without a kernel".to_owned(),
        false => format!("The MINIX service {SERVICE}, scenario {}", scenario_name(args)),
    };
    screen.lines.push(format!("{what}, on QEMU {}", report.qemu_version));
    screen.found(&report.guest, console);
    screen.contents(&report.host.contents);
    screen.tested(&report.guest, args.verbose);
    screen.driver(&report.guest);
    screen.service(report);
    screen.compared(report, input);
    screen.times(report);
    screen.failed(report, console, log);
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
        // Names and texts come from the guest, and from its disk.
        self.lines.push(line.replace(char::is_control, "?"));
    }

    /// A name, text that goes on below itself where it is long (not at a [`NO_BREAK`]), and a result at the right edge.
    fn row(&mut self, name: &str, text: &str, result: &str) {
        let indent = if name.is_empty() { 2 } else { SECOND };
        let width = WIDTH - result.chars().count() - 1;
        let mut line = format!("{:<indent$}", format!("  {name}"));
        let mut result = Some(result);
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let is_first = line.chars().count() <= indent;
            if !is_first && line.chars().count() + word.chars().count() >= width {
                let full = std::mem::replace(&mut line, " ".repeat(indent));
                self.ended(&full, result.take());
            } else if !is_first {
                line.push(' ');
            }
            line += word;
        }
        self.ended(&line, result);
    }

    fn ended(&mut self, line: &str, result: Option<&str>) {
        let result = result.unwrap_or_default();
        let width = WIDTH - result.chars().count();
        let line = line.replace(NO_BREAK, " ");
        self.line(format!("{line:<width$}{result}").trim_end().to_owned());
    }

    fn found(&mut self, guest: &Guest, console: &str) {
        self.heading = "Found";
        for disk in guest.disks() {
            let Some(device) = guest.device(disk) else { continue };
            let (id, block, queue) = (device.id, device.block_bytes, device.queue_size);
            let size = size(device.capacity.saturating_mul(SECTOR_BYTES as u64));
            let access = if device.read_only { "read-only" } else { "read-write" };
            let queues = match device.queues {
                0 | 1 => "queue".to_owned(),
                queues => format!("{queues} queues"),
            };
            for (name, text) in [
                ("device", format!("{}, id \"{id}\"", transport(&device))),
                (
                    "disk",
                    format!("{size}, block {block} bytes, {access}, {queues} of {queue}"),
                ),
                ("features", feature_names(device.accepted)),
            ] {
                self.row(name, &text, "");
            }
        }
        // The service prints this for people. One that is started again prints the same, or uses fewer features.
        let log = console.lines().filter_map(|line| line.trim_end().strip_prefix(LOG));
        let (mut rows, mut features) = (Vec::new(), None);
        for line in log {
            if let Some((_, bits)) = line.split_once("features 0x") {
                let bits = bits.split(',').next().unwrap_or_default();
                features = features.or(u64::from_str_radix(bits, 16).ok());
            } else if line.starts_with("block device ") {
                push_new(&mut rows, ("device", line));
            } else if let Some(line) = line.strip_prefix("capacity ") {
                push_new(&mut rows, ("disk", line));
            }
        }
        for (name, text) in rows.into_iter().take(ROWS) {
            self.row(name, text, "");
        }
        if let Some(bits) = features {
            self.row("features", &feature_names(bits), "");
        }
        let mut partitions = [Vec::new(), Vec::new()];
        for reported in &guest.records {
            if let Record::Partition {
                number: number @ 1..,
                first_byte,
                bytes,
                ..
            } = reported.record
            {
                let first = first_byte / SECTOR_BYTES as u64;
                let partition = format!("{number}: {} at sector {first}", size(bytes));
                push_new(&mut partitions[reported.disk], partition.replace(' ', NO_BREAK));
            }
        }
        for mut of_disk in partitions.into_iter().filter(|of_disk| !of_disk.is_empty()) {
            if of_disk.len() > PARTITIONS {
                let more = of_disk.split_off(PARTITIONS).len();
                of_disk.push(format!("and {more} more"));
            }
            self.row("partitions", &of_disk.join("; "), "");
        }
    }

    /// The contents of the user's disk.
    fn contents(&mut self, contents: &[String]) {
        let Some(shown) = contents
            .get(..contents.len().min(PARTITIONS))
            .filter(|shown| !shown.is_empty())
        else {
            return;
        };
        let mut text = shown.join("; ");
        if contents.len() > shown.len() {
            text += &format!("; and {} more", contents.len() - shown.len());
        }
        self.row("contents", &text, "");
        if !contents.iter().any(|line| line.ends_with(": MINIX file system")) {
            self.row(
                "files",
                "none that the guest can read: there is no MINIX file system",
                "",
            );
        }
    }

    fn tested(&mut self, guest: &Guest, verbose: bool) {
        self.heading = "Tested";
        self.block_tests(guest, verbose);
        let program = |client: &str| {
            let mut programs = records!(guest, Record::Started { label, program, .. } if label == client => program);
            programs.next().unwrap_or("self-test")
        };
        let tests = guest.records.iter().filter_map(|reported| match reported.record {
            Record::Test {
                group,
                number: 0,
                name,
                outcome,
                detail,
            } => {
                // A service that was started again came between a client in the background and its test.
                let by = match program(reported.client) {
                    _ if !group.is_empty() => group,
                    SERVICE => name,
                    program => program,
                };
                Some((by, name, outcome, detail))
            }
            _ => None,
        });
        let tests: Vec<_> = tests.collect();
        let mut programs = Vec::new();
        tests.iter().for_each(|(by, ..)| push_new(&mut programs, *by));
        for by in programs {
            let of_program: Vec<_> = tests.iter().filter(|test| test.0 == by).collect();
            let mut names = Vec::new();
            let made = of_program.iter().filter(|(.., outcome, _)| *outcome != Outcome::Skip);
            made.for_each(|(_, name, ..)| push_new(&mut names, *name));
            let what = match of_program.as_slice() {
                [(_, name, _, detail)] if *name == by => (*detail).to_owned(),
                _ if names == [by] => String::new(),
                _ => names.join(", "),
            };
            let result = outcomes(of_program.iter().map(|(.., outcome, _)| *outcome));
            self.row(by, &what, &result);
        }
        let mut skipped = Vec::new();
        for (_, name, _, why) in tests.iter().filter(|(.., outcome, _)| *outcome == Outcome::Skip) {
            push_new(&mut skipped, format!("{name}: {why}"));
        }
        for text in skipped {
            self.row("skipped", &text, "");
        }
        let started: Vec<&str> = records!(guest, Record::Started { label, .. } => label).collect();
        if let Some((passed, failed)) = guest.done()
            && !started.is_empty()
        {
            let must = started.iter().filter(|label| must_fail(label)).count() as u64;
            let note = match must {
                0 => String::new(),
                _ => format!(", {must} of them expected to fail"),
            };
            let (fine, of) = (total([passed, must.min(failed)]), total([passed, failed]));
            self.row("", &format!("steps of the scenario{note}"), &format!("{fine} of {of}"));
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
        let mut groups = Vec::new();
        let tests = runs.iter().flat_map(|run| guest.tests_of(run));
        let checks = tests.filter(|(_, number, ..)| *number > 0);
        checks.for_each(|(group, ..)| push_new(&mut groups, group));
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

    /// What the driver of the bare image did.
    fn driver(&mut self, guest: &Guest) {
        self.heading = "Driver";
        for (name, count) in records!(guest, Record::Driver { requests, notifies, interrupts } => [
            ("requests to the device", requests),
            ("notifications", notifies),
            ("interrupts", interrupts),
        ])
        .flatten()
        {
            self.row(name, "", &count.to_string());
        }
        self.load(guest);
    }

    /// What the load on all harts made of queues, vectors and harts.
    fn load(&mut self, guest: &Guest) {
        self.heading = "Load on all harts";
        // The rate of one queue of the disk.
        let mut alone = None;
        for reported in &guest.records {
            match reported.record {
                Record::Queue {
                    number,
                    hart,
                    vector,
                    requests,
                    sent,
                    notifies,
                    interrupts,
                } => {
                    let vector = vector.map_or(String::new(), |vector| format!(", vector {vector}"));
                    let text = format!(
                        "hart {hart}{vector}: {requests} requests, {sent} to the device, {notifies} notifications, {interrupts} interrupts"
                    );
                    self.row(&format!("queue {number}"), &text, "");
                }
                Record::Vector {
                    vector,
                    hart,
                    interrupts,
                } => {
                    let name = vector.map_or("line".to_owned(), |vector| format!("vector {vector}"));
                    self.row(&name, &format!("interrupts of hart {hart}"), &interrupts.to_string());
                }
                Record::Cost {
                    queues,
                    number,
                    requests,
                    submit,
                    poll,
                } => {
                    let each = |instructions: u64| instructions as f64 / requests.max(1) as f64;
                    let text = format!(
                        "of {queues}, instructions of a request: submit {:.1}, poll {:.1}",
                        each(submit),
                        each(poll)
                    );
                    self.row(&format!("queue {number}"), &text, "");
                }
                Record::Removed {
                    submitted,
                    completed,
                    given_back,
                } => {
                    let text = format!("of {submitted} requests {completed} completed, {given_back} were given back");
                    self.row("removal", &text, "");
                }
                Record::Loaded {
                    queues,
                    requests,
                    micros,
                } => {
                    let seconds = micros.max(1) as f64 / 1e6;
                    let rate = requests as f64 / seconds;
                    let number = if queues == 1 { "one queue" } else { "all queues" };
                    let text = format!("of {number} in {seconds:.3} s, {rate:.0} a second");
                    self.row("requests", &text, &requests.to_string());
                    match (queues, alone) {
                        (1, _) => alone = Some(rate),
                        (_, Some(one)) if one > 0.0 => {
                            let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
                            let text = format!("of {queues} queues against one, on a host with {cores} cores");
                            self.row("rate", &text, &format!("{:.2}", rate / one));
                        }
                        _ => {}
                    }
                }
                Record::Device(_) => alone = None,
                _ => {}
            }
        }
    }

    /// How the services were killed, measured and stopped.
    fn service(&mut self, report: &Report) {
        self.heading = "Service";
        let guest = &report.guest;
        let kills: Vec<u64> = records!(guest, Record::Killed { in_flight, .. } => in_flight).collect();
        let restarts = records!(guest, Record::Restarted { .. } => ()).count();
        if !kills.is_empty() {
            let in_flight = total(kills.iter().copied());
            let text = format!("{restarts} restarts; {in_flight} requests were not answered at a kill");
            self.row("kills", &text, &kills.len().to_string());
        }
        let loads = guest.loads();
        if !kills.is_empty() && !loads.is_empty() {
            let sum = |of: fn(&Load<'_>) -> u64| total(loads.iter().map(of));
            let [reads, writes, retried, reopened] = [
                sum(|load| load.reads),
                sum(|load| load.writes),
                sum(|load| load.retried),
                sum(|load| load.reopened),
            ];
            let text = format!(
                "{reads} reads and {writes} writes acknowledged, {retried} requests sent again, {reopened} opens again"
            );
            self.row("load", &text, &format!("{} clients", loads.len()));
        }
        if let Some(faults) = &report.host.faults {
            for made in &faults.made {
                self.row("fault", made.fault, &made.times.to_string());
            }
            self.row("faults", "made, and the service went on", &faults.times().to_string());
            let loads = guest.loads();
            let sum = |of: fn(&Load<'_>) -> u64| total(loads.iter().map(of));
            let [reads, writes, flushes] = faults.failed;
            let text = format!("{reads} reads, {writes} writes and {flushes} flushes failed in QEMU");
            self.row("errors", &text, &format!("{} answers", sum(|load| load.failed)));
            let (compared, unanswered) = (faults.compared, faults.unanswered);
            let text = format!("{compared} sectors compared when QEMU was killed, {unanswered} writes not answered");
            self.row("kills", &text, "");
            let text = format!("{} requests of the last boot", sum(|load| load.acknowledged));
            self.row("load", &text, &format!("{} clients", loads.len()));
        }
        if restarts > 0 {
            let poison = records!(guest, Record::Poison { frames, before, after } => [frames, before, after]);
            let poison: Vec<_> = poison.collect();
            let [frames, before, after] = [0, 1, 2].map(|part| total(poison.iter().map(|looked| looked[part])));
            let text = format!("of dead instances: {before} changed before the replacement answered, {after} later");
            self.row("memory", &text, &format!("{frames} frames"));
        }
        for reported in &guest.records {
            match reported.record {
                Record::Measure {
                    name,
                    label,
                    instructions,
                    micros,
                } => {
                    let percent = instructions as f64 / (micros as f64 * 10.0);
                    let seconds = micros as f64 / 1e6;
                    let text = format!(
                        "{label} took {instructions} instructions in {seconds:.3} s, {percent:.3} % of a hart at 1000 a microsecond"
                    );
                    self.row(name, &text, "");
                }
                Record::Down {
                    label,
                    micros,
                    since,
                    status,
                    ..
                } => {
                    let event = match since {
                        Since::Term => "SIGTERM",
                        Since::Close => "the last close",
                    };
                    let reset = if status == 0 { "reset" } else { "NOT RESET" };
                    let text = format!("{label}, {:.1} ms after {event}", micros as f64 / 1e3);
                    self.row("stopped", &text, &format!("device {reset}"));
                }
                _ => {}
            }
        }
    }

    fn compared(&mut self, report: &Report, input: Option<&Input>) {
        self.heading = "Compared on the host after power-off";
        let host = &report.host;
        for (what, Share { equal, of }) in [
            ("sampled ranges, the same in the guest and on the host", host.digests),
            ("files of the MINIX file system, as the host wrote them", host.files),
        ] {
            if of > 0 {
                self.row("", what, &format!("{equal} of {of}"));
            }
        }
        if let Some(comparison) = &host.comparison {
            let (changed, unexpected) = (comparison.changed_as_reported, comparison.unexpected);
            let reported = changed + comparison.not_as_reported;
            let others = comparison.compared - reported;
            let unchanged = others - unexpected;
            if reported > 0 {
                let what = "sectors that the guest changed, as it reported";
                self.row("", what, &format!("{changed} of {reported}"));
            }
            if others > 0 {
                self.row("", "all other sectors, unchanged", &format!("{unchanged} of {others}"));
            }
        }
        for (what, number) in [
            (
                "most requests in the device at once, as QEMU saw them",
                host.requests_at_once,
            ),
            (
                "flushes after the last write, as the device saw them",
                host.flushes_after_writes,
            ),
        ] {
            if let Some(number) = number {
                self.row("", what, &number.to_string());
            }
        }
        for (what, number) in host.power_cut.iter().flat_map(Judged::figures) {
            self.row("", what, &number.to_string());
        }
        for seen in host.backends.iter().filter_map(|seen| seen.report.as_ref()) {
            let (reads, writes, flushes) = (seen.reads, seen.writes, seen.flushes);
            self.row(
                "",
                &format!("the back-end served {reads} reads, {writes} writes and {flushes} flushes"),
                "",
            );
            let most = seen.most_data_descriptors.to_string();
            self.row("", "most data descriptors of a request", &most);
        }
        if let (Some(unchanged), Some(input)) = (host.file_unchanged, input) {
            self.row("", &input.name(), if unchanged { "unchanged" } else { "HAS CHANGED" });
        }
    }

    fn times(&mut self, report: &Report) {
        let mut clients = Vec::new();
        let records = &report.guest.records;
        for (place, reported) in records.iter().enumerate() {
            let Record::Started { label, program, .. } = reported.record else {
                continue;
            };
            let is_end = |record| matches!(record, Record::Ended { label: of, .. } if of == label);
            let Some(end) = records[place..].iter().find(|later| is_end(later.record)) else {
                continue;
            };
            let seconds = end.at - reported.at;
            // The services run from one end to the other.
            if seconds >= 0.05 && program != SERVICE {
                clients.push(format!("{label}{NO_BREAK}{seconds:.1}"));
            }
        }
        self.heading = "Time in seconds";
        if report.seconds > 0.0 {
            self.row("", "the whole run on QEMU", &format!("{:.1}", report.seconds));
            if !clients.is_empty() {
                self.row("", &clients.join(", "), "");
            }
        }
    }

    fn failed(&mut self, report: &Report, console: &str, log: Option<&Path>) {
        self.heading = "Failed";
        for reason in &report.reasons {
            self.row("", reason, "");
        }
        if !report.passed && report.guest.done().is_none() {
            self.heading = "Last lines of the console";
            let lines: Vec<&str> = console.lines().collect();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                self.line(format!("  {line}"));
            }
        }
        if let Some(log) = log {
            self.heading = "The whole console";
            self.line(format!("  {}", log.display()));
        }
    }
}

/// How the driver reaches a device.
fn transport(device: &Device<'_>) -> String {
    let interface = match (device.bus, device.version) {
        (Bus::Mmio, version) => return format!("virtio-mmio block device, version {version}"),
        (Bus::Pci, 1) => "legacy",
        (Bus::Pci, _) => "modern",
        (Bus::PciTransitional, _) => "transitional",
    };
    let interrupts = match device.vectors {
        0 => "interrupts by its line".to_owned(),
        1 => "one vector".to_owned(),
        vectors => format!("{vectors} vectors"),
    };
    format!("virtio-pci block device, {interface}, {interrupts}")
}

/// How many of the tests that apply passed.
fn outcomes(outcomes: impl IntoIterator<Item = Outcome>) -> String {
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
        (0, _) => "skipped".to_owned(),
        (of, _) => format!("{passed} of {of}"),
    }
}

/// The names of a set of features.
fn feature_names(bits: u64) -> String {
    let common = Features::from_bits_retain(bits);
    let block = BlkFeatures::from_bits_retain(bits);
    let names = block.iter_names().map(|(name, flag)| (name, flag.bits()));
    let names: Vec<_> = names
        .chain(common.iter_names().map(|(name, flag)| (name, flag.bits())))
        .collect();
    let unnamed = names.iter().fold(bits, |bits, (_, flag)| bits & !flag);
    let unnamed = (0..u64::BITS)
        .filter(|bit| unnamed >> bit & 1 == 1)
        .map(|bit| format!("bit-{bit}"));
    let names = names.iter().map(|(name, _)| (*name).to_owned());
    names.chain(unnamed).collect::<Vec<_>>().join(" ")
}

fn size(bytes: u64) -> String {
    BinaryBytes(bytes).to_string().replace(".00 ", " ")
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(3)).collect::<String>() + "..."
}
