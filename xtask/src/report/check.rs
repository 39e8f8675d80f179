//! Whether a run is a success: what the guest reported against what the host set up and found. Every finding against it is one
//! line.

use guest_protocol::{Device, End, Outcome, Record, SECTOR_BYTES, SectorRange};

use super::parse::{Guest, records, total};
use super::{Count, Host, block_test, faulty, load, vblkctl};
use crate::cli::{Bus, QemuArgs};
use crate::disk::Disk;
use crate::faults::Total;
use crate::foreign::Seen;
use crate::machine::found_serial;
use crate::minix::scenario::{
    LOADS, Name, PATIENT, STARVED, Scenario, THROTTLED_OPS, THROTTLED_RATE, TWINS, is_refused,
};
use crate::run::Ended;

/// A service that is told to stop while its disk is not open exits within this time, in microseconds of the guest.
const STOP_LIMIT: u64 = 100_000;

/// The results that services without a disk report to RS: another service has the disk, or an argument is invalid.
const EBUSY: i32 = -16;
const EINVAL: i32 = -22;
/// The answer to an open from a service that is about to stop.
const REFUSAL: &str = "ENXIO";
/// The end of a client that does not find the successor of its driver.
const LOSS: &str = "starved: driver died";
/// The statement that waits for it fails.
const WAIT: &str = "\"wait\"";

/// Instructions that a hart does in a microsecond where one takes a nanosecond.
const INSTRUCTIONS_PER_MICRO: u128 = 1000;
/// Share of these, in percent, that the service may take while its clients wait for the disk.
const BUSY_LIMIT: u128 = 5;
/// Least time that the requests of the slow disk take, in microseconds: four fifths of what its rate comes to, as the first few
/// may pass at once.
const THROTTLED_MICROS: u64 = LOADS * THROTTLED_OPS * 1_000_000 / THROTTLED_RATE * 4 / 5;

/// Requests that must be in the device at once where four clients have two each.
const OVERLAP: u64 = 8;
/// A forced write and a flush that is asked for make one flush each. The last close makes none, as there is nothing left.
const FLUSHES: u64 = 2;

/// With fewer kills, a client may have written nothing or met no kill, by chance.
const MANY_ROUNDS: usize = 20;
/// Clients that open the disk again after a kill, the file server among them. A kill that comes then meets an open, which does
/// not count as sent again.
const OPENERS: u64 = LOADS + 1;

/// A run that has ended, and the evidence to judge.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) args: &'a QemuArgs,
    /// None: the bare image.
    pub(crate) scenario: Option<&'a Scenario>,
    pub(crate) disks: &'a [Disk],
    pub(crate) ended: &'a Ended,
    pub(crate) host: &'a Host,
    pub(crate) defmt: Count,
}

/// Adds a finding unless the condition is met.
macro_rules! require {
    ($findings:expr, $met:expr, $($text:tt)+) => {
        if !$met {
            $findings.push(format!($($text)+));
        }
    };
}
pub(super) use require;

impl Case<'_> {
    /// Every reason why the run is not a success, the most telling first.
    pub(crate) fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let unchanged = self.host.file_unchanged != Some(false);
        require!(findings, unchanged, "the disk image given with --disk has changed");
        self.records(&mut findings);
        if self.whole_run() {
            match self.scenario {
                Some(scenario) => {
                    block_test::check(self.guest(), scenario.name, self.args.read_only, &mut findings);
                    self.scenario(scenario, &mut findings);
                    self.partitions(&mut findings);
                }
                None => self.devices(&mut findings),
            }
        }
        self.end(&mut findings);
        findings.extend(self.host.findings.iter().cloned());
        if let Some(scenario) = self.scenario.filter(|scenario| scenario.name == Name::Faults) {
            faulty::lost(self.guest(), scenario, &mut findings);
        }
        for (number, seen) in self.host.backends.iter().enumerate() {
            backend(number, seen, self.whole_run() && self.scenario.is_some(), &mut findings);
        }
        self.changes(&mut findings);
        let differences = self
            .host
            .comparison
            .iter()
            .flat_map(|comparison| &comparison.differences);
        findings.extend(differences.cloned());
        // A reset of the machine may come in the middle of a record.
        let mut resets = self.host.faults.as_ref().map_or(0, Total::resets);
        let damaged = self.guest().damaged.iter().filter(|line| {
            let is_torn = line.contains(TORN) && resets > 0;
            resets -= u64::from(is_torn);
            !is_torn
        });
        findings.extend(damaged.map(|line| format!("damaged record: {line}")));
        let damaged = self.defmt.damaged;
        require!(findings, damaged == 0, "{damaged} defmt frames are malformed");
        // Texts come from the guest, and names from its disk.
        let plain = |finding: String| finding.replace(char::is_control, "?");
        findings.into_iter().map(plain).collect()
    }

    fn guest(&self) -> &Guest {
        &self.ended.guest
    }

    /// Whether the guest did all its work and said so.
    fn whole_run(&self) -> bool {
        self.guest().done().is_some() && !self.args.shell
    }

    /// Records that are failures by themselves, in the order of time.
    fn records(&self, findings: &mut Vec<String>) {
        let is_life = self.scenario.is_some_and(|scenario| scenario.name == Name::Life);
        let is_starved = self.scenario.is_some_and(|scenario| scenario.name == Name::Starved);
        for reported in &self.guest().records {
            let client = reported.client;
            let must_fail = self.scenario.is_some() && is_refused(client);
            match reported.record {
                Record::Error { stage, kind, text } => {
                    // What comes before it in the records may be another client.
                    let is_starved = is_starved && (text == LOSS || (stage, text) == ("scenario", WAIT));
                    let as_wanted = must_fail || is_starved;
                    require!(findings, as_wanted, "the guest stopped at {stage}: {kind} ({text})");
                }
                Record::Test {
                    number,
                    name,
                    outcome: Outcome::Fail,
                    detail,
                    ..
                } if number > 0 => findings.push(format!("check {number} of {client} failed: {name}: {detail}")),
                Record::Test {
                    name,
                    outcome: Outcome::Fail,
                    detail,
                    ..
                } => require!(findings, must_fail, "test {name} failed in the guest: {detail}"),
                Record::Violation { text } => {
                    findings.push(format!("the kernel saw a violation of the protocol: {text}"));
                }
                Record::Ended { label, how, .. } => {
                    let died = matches!(how, End::Segv | End::Panic);
                    require!(findings, !died, "{label} died: {how:?}");
                }
                Record::Poison { after, .. } => require!(
                    findings,
                    after == 0,
                    "{after} frames of a dead instance changed after the system could have used them again"
                ),
                Record::Down {
                    label,
                    micros,
                    status,
                    forced,
                    ..
                } => {
                    require!(findings, !forced, "{label} did not stop when told to, and was killed");
                    require!(
                        findings,
                        status == 0,
                        "{label} did not reset its device when it stopped"
                    );
                    // Only there, time does not depend on how busy the host is.
                    let is_slow = is_life && micros > STOP_LIMIT;
                    let (took, limit) = (micros / 1000, STOP_LIMIT / 1000);
                    require!(
                        findings,
                        !is_slow,
                        "{label} took {took} ms to stop, {limit} are allowed"
                    );
                }
                _ => {}
            }
        }
    }

    /// How the run ended.
    fn end(&self, findings: &mut Vec<String>) {
        let ended = self.ended;
        let quoted = |line: Option<&String>| line.map(|line| format!(": {line}")).unwrap_or_default();
        let Some(status) = ended.status else {
            if !ended.abandoned {
                let limit = self.args.limit();
                findings.push(format!(
                    "the guest did not end within {limit} s and was stopped (--timeout sets the limit)"
                ));
            }
            // A back-end without a report is a finding of its own.
            let told = !ended.abandoned
                || self.host.backends.iter().any(|seen| seen.report.is_none())
                || !self.host.findings.is_empty();
            require!(findings, told, "the back-end of a disk ended before the guest did");
            return;
        };
        let complaints = &ended.complaints;
        if !ended.spoke && !status.success() {
            // The first complaint is the cause, unless it is a warning. Those after it are consequences.
            let cause = complaints.iter().find(|line| !line.contains("warning:"));
            let complaint = quoted(cause.or(complaints.last()));
            findings.push(format!("QEMU did not start the guest{complaint}"));
            return;
        }
        let Some(code) = status.code() else {
            findings.push(format!("QEMU was killed ({status})"));
            return;
        };
        let (what, failures) = match self.scenario {
            None => ("test", 0),
            Some(scenario) => ("statement", scenario.failures() as u64),
        };
        match self.guest().done() {
            _ if self.args.shell => {}
            Some((_, failed)) if failed > failures => {
                findings.push(format!("{} {what}s failed in the guest", failed - failures));
            }
            Some((_, failed)) if failed < failures => findings.push(format!(
                "{} {what}s passed in the guest that must fail",
                failures - failed
            )),
            Some((passed, _)) => require!(findings, passed > 0, "the guest ran no {what}"),
            None => {
                let has_error = records!(self.guest(), Record::Error { .. } => ()).next().is_some();
                let complaint = quoted(complaints.last());
                require!(findings, has_error, "the guest ended without a result{complaint}");
            }
        }
        let is_expected = code == i32::from(failures > 0);
        require!(findings, is_expected, "the guest powered off with status {code}");
    }

    /// Whether the bare image saw the device that the host set up.
    fn devices(&self, findings: &mut Vec<String>) {
        for (number, disk) in self.disks.iter().enumerate() {
            match self.guest().device(number) {
                Some(device) => {
                    self.device(number, disk, &device, findings);
                    match self.args.remove {
                        Some(removal) => load::check_removal(removal, self.guest(), findings),
                        None if self.args.count || !load::is_due(&disk.outline) => {}
                        None => load::check(self.args, self.guest(), number, findings),
                    }
                }
                None => findings.push(format!("the guest reported no device for disk {number}")),
            }
        }
    }

    fn device(&self, number: usize, disk: &Disk, device: &Device<'_>, findings: &mut Vec<String>) {
        let hardware = &self.args.hardware;
        let bus = hardware.buses.get(number).copied().unwrap_or(Bus::Mmio).of_guest();
        let version = if self.args.legacy { 1 } else { 2 };
        let is_read_only = disk.attachment.read_only;
        for (what, found, made) in [
            ("bus", device.bus.to_string(), bus.to_string()),
            ("register layout", device.version.to_string(), format!("{version}")),
            (
                "number of queues",
                device.queues.to_string(),
                hardware.queues.to_string(),
            ),
            (
                "capacity in sectors",
                device.capacity.to_string(),
                disk.sectors.to_string(),
            ),
            (
                "block size",
                device.block_bytes.to_string(),
                self.args.block_size.to_string(),
            ),
            ("read-only flag", device.read_only.to_string(), is_read_only.to_string()),
            ("id", device.id.to_owned(), found_serial(self.args, number)),
        ] {
            require!(
                findings,
                found == made,
                "the guest found {what} `{found}`, the host set up `{made}`"
            );
        }
    }

    /// Whether the services found the partitions of the disks that were made here.
    fn partitions(&self, findings: &mut Vec<String>) {
        let found = |disk| {
            self.guest().of_disk(disk).filter_map(|reported| match reported.record {
                Record::Partition {
                    number,
                    first_byte,
                    bytes,
                } => Some((number, first_byte, bytes)),
                _ => None,
            })
        };
        for (disk, partitions) in self.disks.iter().map(|disk| &disk.partitions).enumerate() {
            let Some(partitions) = partitions else {
                continue;
            };
            for (number, (_, range)) in (1..).zip(partitions) {
                let made = (
                    number,
                    range.first * SECTOR_BYTES as u64,
                    range.count * SECTOR_BYTES as u64,
                );
                require!(
                    findings,
                    found(disk).any(|found| found == made),
                    "the guest did not find partition {number} of disk {disk} where the host made it"
                );
            }
        }
    }

    /// The guest changed scratch ranges only. In the shell a person chooses what to change.
    fn changes(&self, findings: &mut Vec<String>) {
        for (number, disk) in self.disks.iter().enumerate() {
            let allowed = if self.args.shell {
                vec![disk.whole()]
            } else {
                disk.outline.scratch.clone()
            };
            let mut changed = self.guest().changes(number).into_iter();
            let beyond = changed.find(|(range, _)| !allowed.iter().any(|allowed| allowed.contains(*range)));
            if let Some((SectorRange { first, count }, _)) = beyond {
                findings.push(format!(
                    "the guest says it changed {count} sectors at {first}, which it may not"
                ));
            }
        }
    }

    /// The purpose of the scenario is met.
    fn scenario(&self, scenario: &Scenario, findings: &mut Vec<String>) {
        let guest = self.guest();
        match scenario.name {
            Name::Kills | Name::SlowKills => self.kills(scenario.name, findings),
            Name::Throttled => throttled(guest, findings),
            Name::Overlap => match self.host.requests_at_once {
                None => findings.push(NO_TRACE.to_owned()),
                Some(seen) => require!(
                    findings,
                    seen >= OVERLAP,
                    "at most {seen} requests were in the device at once, wanted {OVERLAP}"
                ),
            },
            Name::Flushes => match self.host.flushes_after_writes {
                None => findings.push(NO_TRACE.to_owned()),
                Some(seen) => require!(
                    findings,
                    seen == FLUSHES,
                    "the device saw {seen} flushes after the last write, wanted {FLUSHES}"
                ),
            },
            Name::Starved => starved(guest, findings),
            Name::Vblkctl => vblkctl::check(self, findings),
            Name::Faults => faulty::check(self, findings),
            Name::Twins => {
                let [twin, mute, odd, late, _] = TWINS;
                for (wanted, errno) in [(twin, EBUSY), (mute, EBUSY), (odd, EINVAL), (late, EBUSY)] {
                    let refused = records!(guest, Record::Ended { label, result, .. } if (label, result) == (wanted, errno) => ());
                    require!(findings, refused.count() > 0, "{wanted} was not refused with {errno}");
                }
            }
            _ => {}
        }
        for wanted in scenario.clients() {
            let started = records!(guest, Record::Started { label, .. } if label == wanted => ());
            require!(findings, started.count() > 0, "{wanted} was never started");
            // It must reach the service, and get this answer.
            let of_client = guest.records.iter().filter(|reported| reported.client == wanted);
            let refused = of_client.filter(
                |reported| matches!(reported.record, Record::Error { kind: "open", text, .. } if text.contains(REFUSAL)),
            );
            let as_wanted = !is_refused(wanted) || refused.count() > 0;
            require!(
                findings,
                as_wanted,
                "{wanted} was not refused with {REFUSAL} when it opened the disk"
            );
        }
        for service in scenario.must_leave() {
            let wanted = scenario.must_leave().filter(|other| *other == service).count();
            let left = records!(guest, Record::Ended { label, how: End::Exit, .. } if label == service => ());
            if left.count() < wanted {
                findings.push(format!("{service} did not exit by itself each of {wanted} times"));
                break;
            }
        }
    }

    fn kills(&self, scenario: Name, findings: &mut Vec<String>) {
        let guest = self.guest();
        let wanted = self.args.rounds() as usize;
        let kills: Vec<u64> = records!(guest, Record::Killed { in_flight, .. } => in_flight).collect();
        let restarts = records!(guest, Record::Restarted { .. } => ()).count();
        for (what, number) in [("kills", kills.len()), ("restarts", restarts)] {
            require!(findings, number == wanted, "{number} {what}, wanted {wanted}");
        }
        // One after each kill, and one at the end.
        let looks = records!(guest, Record::Poison { .. } => ()).count();
        require!(
            findings,
            looks >= wanted,
            "the memory of dead instances was looked at {looks} times, wanted {wanted}"
        );
        // A kill of an idle service shows nothing.
        let at_work = kills.iter().filter(|in_flight| **in_flight > 0).count();
        let are_many = wanted >= MANY_ROUNDS;
        let met = at_work > 0 && !(are_many && at_work * 4 < kills.len() * 3);
        let of = kills.len();
        require!(
            findings,
            met,
            "only {at_work} of {of} kills met requests that were not answered"
        );
        let loads = guest.loads();
        let lost = total(kills.iter().map(|in_flight| in_flight.saturating_sub(OPENERS)));
        let retried = total(loads.iter().map(|load| load.retried));
        require!(
            findings,
            retried >= lost,
            "at least {lost} transfers were not answered when the service died, but only {retried} were sent again"
        );
        for label in (0..LOADS).map(|number| format!("load{number}")) {
            let Some(load) = loads.iter().find(|load| load.label == label) else {
                findings.push(format!("{label} did not report"));
                continue;
            };
            // On a slow disk a client does so little that chance may leave it without a write.
            let did_enough = match scenario {
                Name::SlowKills => load.acknowledged > 0,
                _ => load.writes > 0 && load.reads > 0,
            };
            require!(findings, !are_many || did_enough, "{label} did not read and write");
            let saw = !are_many || load.reopened > 0;
            require!(findings, saw, "{label} did not see that the service had died");
        }
        let both = loads.iter().any(|load| load.writes > 0) && loads.iter().any(|load| load.reads > 0);
        require!(findings, both, "the load did not read and write");
        let saw = loads.iter().any(|load| load.reopened > 0);
        require!(findings, saw, "no client saw that the service had died");
    }
}

/// One client worked and lost its driver for good, the other one went on with the successor.
fn starved(guest: &Guest, findings: &mut Vec<String>) {
    let loads = guest.loads();
    for (label, restarts) in [(STARVED, 0), (PATIENT, 1)] {
        let load = loads.iter().find(|load| load.label == label);
        let seen = load.map(|load| (load.acknowledged > 0, load.reopened));
        require!(
            findings,
            seen == Some((true, restarts)),
            "{label} was to work and to see {restarts} restarts: {load:?}"
        );
    }
    let losses = records!(guest, Record::Error { text: LOSS, .. } => ()).count();
    require!(
        findings,
        losses == 1,
        "{STARVED} was to give its driver up once, and did so {losses} times"
    );
}

/// A record that has a beginning and no end, as the parser says.
const TORN: &str = ": EOF while parsing";

const NO_TRACE: &str = "QEMU recorded no requests of the device";

fn throttled(guest: &Guest, findings: &mut Vec<String>) {
    let mut measures = records!(guest, Record::Measure { instructions, micros, .. } => (instructions, micros));
    let Some((instructions, micros)) = measures.next() else {
        findings.push("nothing was measured".to_owned());
        return;
    };
    let hart = u128::from(micros) * INSTRUCTIONS_PER_MICRO;
    require!(
        findings,
        u128::from(instructions) * 100 < hart * BUSY_LIMIT,
        "the service took {instructions} instructions in {micros} us, {BUSY_LIMIT} % of a hart and more"
    );
    require!(
        findings,
        micros >= THROTTLED_MICROS,
        "the requests took {micros} us, but the slow disk needs {THROTTLED_MICROS} us for them"
    );
}

/// The back-end of a disk saw a driver that kept to the rules. `ended`: the last user of the disk has closed it.
fn backend(number: usize, seen: &Seen, ended: bool, findings: &mut Vec<String>) {
    let Some(report) = &seen.report else {
        let complaint = seen.complaints.last().map(|line| format!(": {line}"));
        let complaint = complaint.unwrap_or_default();
        findings.push(format!(
            "the back-end of disk {number} ended without a report{complaint}"
        ));
        return;
    };
    let (broken, unflushed) = (report.violations, report.writes_not_flushed);
    let first = report.described.first().map(String::as_str).unwrap_or_default();
    require!(
        findings,
        broken == 0,
        "the back-end of disk {number} saw {broken} broken chains, first: {first}"
    );
    require!(
        findings,
        report.reads > 0,
        "the back-end of disk {number} never served a read"
    );
    require!(
        findings,
        !ended || unflushed == 0,
        "the driver left {unflushed} writes to disk {number} unflushed"
    );
}
