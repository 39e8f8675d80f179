//! The MINIX service in the test kernel: the ELF that ships in user mode, and a client that sends it requests.
//!
//! Three kinds of boots, each for a service that watches the device and for one that waits for interrupts.
//!
//! * *Counts*: a nanosecond of the guest is an instruction, and the test kernel has the device's notifications. For a service
//!   that watches, the device answers at once; for one that waits, when every process waits. So nothing depends on the time that
//!   the host takes, and the counts are exact.
//! * *Rates*: nothing of the kind. Latencies and rates are those of this machine at this hour.
//! * *Wait*: a disk that does 20 requests a second. What is counted is what the service takes of a hart meanwhile.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_protocol::{CALIBRATION, Call, Record};
use testkernel::scenario::{Pace, Program, Statement};

use super::daemon::Daemon;
use super::guest::latency;
use super::row::Row;
use crate::cli;
use crate::console::Console;
use crate::disk::Attachment;
use crate::machine::{Boot, Machine};
use crate::minix::archive;
use crate::minix::programs::{Programs, SERVICE};
use crate::minix::scenario::Extras;
use crate::progress::Progress;
use crate::report::{Frames, Guest, Strings, records};
use crate::run::{self, Input, Next, Outputs};
use crate::session;

/// What the rows are called.
const CONTENDER: &str = "minix-service";
/// The program that measures.
pub(super) const CLIENT: &str = "measure";
/// Major number of the first disk on MINIX.
pub(super) const MAJOR: u32 = 3;
/// Measurements of one client: the words of a command line, without label and minor.
const WORDS: usize = 7;

const DEPTHS: [u32; 4] = [1, 8, 32, 64];
const SIZES: [u32; 4] = [4 << 10, 64 << 10, 256 << 10, 1 << 20];
/// Pieces of a vector, of 4 KiB each.
const VECTOR: u32 = 64;

/// Requests of a measurement that is counted: every one is like the one before.
const COUNTED_OPS: u64 = 128;
/// Requests per second of the slow disk, and how many are sent to it.
const SLOW_RATE: u64 = 20;
const SLOW_OPS: u64 = 20;
/// Instructions in a microsecond, where they are counted.
const INSTRUCTIONS_PER_MICRO: f64 = 1000.0;

/// How the service learns of completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It watches the device before it waits, as it does unless told otherwise.
    Polled,
    /// It never watches.
    Interrupts,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Mode::Polled => "polled",
            Mode::Interrupts => "interrupts",
        }
    }

    /// The arguments of the service.
    const fn words(self) -> &'static str {
        match self {
            Mode::Polled => "log=warn",
            Mode::Interrupts => "log=warn poll_us=0",
        }
    }

    /// When the device answers, for counts that are exact.
    const fn pace(self) -> Pace {
        match self {
            Mode::Polled => Pace::AtOnce,
            Mode::Interrupts => Pace::WhenAllWait,
        }
    }
}

/// What a boot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Counts,
    /// So many requests of 4 KiB for each measurement, and fewer longer ones.
    Rates {
        ops: u64,
    },
    Wait,
}

/// What each request is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    is_write: bool,
    depth: u32,
    segments: u32,
    bytes: u32,
}

impl Shape {
    /// The word of the client.
    fn word(self, ops: u64) -> String {
        let operation = if self.is_write { "write" } else { "read" };
        format!("{operation}={}:{}:{}:{ops}", self.depth, self.segments, self.bytes)
    }
}

impl Pass {
    const fn heading(self) -> &'static str {
        match self {
            Pass::Counts => "counting instructions of the service",
            Pass::Rates { .. } => "measuring the service",
            Pass::Wait => "watching the service wait",
        }
    }

    /// Whether times are those of the host, and no instructions are counted.
    const fn is_timed(self) -> bool {
        matches!(self, Pass::Rates { .. })
    }

    fn extras(self) -> Extras {
        Extras {
            iops: (self == Pass::Wait).then_some(SLOW_RATE),
            counts_instructions: !self.is_timed(),
            ..Extras::default()
        }
    }

    fn shapes(self) -> Vec<Shape> {
        let mut shapes = Vec::new();
        if self == Pass::Wait {
            for depth in [1, 8] {
                let bytes = SIZES[0];
                shapes.push(Shape {
                    is_write: false,
                    depth,
                    segments: 1,
                    bytes,
                });
            }
            return shapes;
        }
        for is_write in [false, true] {
            for bytes in SIZES {
                shapes.extend(DEPTHS.map(|depth| Shape {
                    is_write,
                    depth,
                    segments: 1,
                    bytes,
                }));
            }
            let bytes = VECTOR * 4096;
            shapes.push(Shape {
                is_write,
                depth: 1,
                segments: VECTOR,
                bytes,
            });
        }
        shapes
    }

    fn ops(self, shape: Shape) -> u64 {
        match self {
            Pass::Counts => COUNTED_OPS,
            // A request of a megabyte takes as long as many small ones.
            Pass::Rates { ops } => (ops / u64::from(shape.bytes / SIZES[0]).isqrt()).max(1),
            Pass::Wait => SLOW_OPS,
        }
    }

    /// The operation of a row. A slow disk is another matter than one that does nothing.
    fn operation(self, operation: &str, segments: u32) -> String {
        match (self, operation, segments) {
            (Pass::Wait, _, _) => format!("slow-{operation}"),
            (_, operation, 1) => operation.to_owned(),
            (_, "read", _) => "gather".to_owned(),
            _ => "scatter".to_owned(),
        }
    }
}

/// Boots for one pass after the other, and returns what was measured.
pub(crate) fn measure(
    scratch: &Path,
    qemu: &Path,
    programs: &Programs,
    passes: &[Pass],
    limit: Duration,
    progress: Progress,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for mode in [Mode::Polled, Mode::Interrupts] {
        for pass in passes {
            let heading = format!("{}, {}", pass.heading(), mode.name());
            let plan = Plan {
                heading: &heading,
                script: &script(*pass, mode),
                extras: pass.extras(),
                latency: Duration::ZERO,
            };
            let (guest, _) = boot(scratch, qemu, programs, &plan, limit, progress)?;
            for row in rows_of(&guest, *pass, mode)? {
                put(&mut rows, row);
            }
        }
    }
    Ok(rows)
}

/// Adds a row, or what it has measured to the row of the same request.
fn put(rows: &mut Vec<Row>, row: Row) {
    let key = |row: &Row| {
        let Row {
            operation, mode, stage, ..
        } = row;
        let (depth, segments, bytes) = (row.depth, row.segments, row.bytes);
        (operation.clone(), mode.clone(), stage.clone(), depth, segments, bytes)
    };
    let Some(known) = rows.iter_mut().find(|known| key(known) == key(&row)) else {
        rows.push(row);
        return;
    };
    known.rate = row.rate.or(known.rate.take());
    known.latency_micros = row.latency_micros.or(known.latency_micros.take());
}

/// A boot of the test kernel with a disk that does nothing, at once or after a time.
pub(super) struct Plan<'a> {
    pub(super) heading: &'a str,
    /// The statements, one a line.
    pub(super) script: &'a str,
    pub(super) extras: Extras,
    /// Time that the disk takes for each request, of which it does many at once. [Zero](Duration::ZERO): a disk of QEMU's own.
    pub(super) latency: Duration,
}

/// Boots, and returns what the guest reported and what its console said.
pub(super) fn boot(
    scratch: &Path,
    qemu: &Path,
    programs: &Programs,
    plan: &Plan<'_>,
    limit: Duration,
    progress: Progress,
) -> Result<(Guest, String)> {
    let directory = session::run_directory(scratch)?;
    let boot = Boot::Minix {
        kernel: programs.kernel.clone(),
        archive: directory.path().join("boot.tar"),
    };
    if let Boot::Minix { archive, .. } = &boot {
        archive::write(archive, plan.script, programs)?;
    }
    let daemon = match plan.latency {
        Duration::ZERO => None,
        latency => Some(Daemon::start(1, latency)?),
    };
    let disk = Attachment {
        file: "null-co://".to_owned(),
        format: cli::Format::Raw,
        read_only: false,
        discard: false,
        socket: daemon.as_ref().and_then(|daemon| daemon.sockets().next()),
    };
    let machine = Machine {
        args: &cli::qemu_args("", None).map_err(anyhow::Error::msg)?,
        program: qemu,
        boot: &boot,
        disks: &[disk],
        extras: &plan.extras,
    };
    let strings = Strings::none();
    let mut frames = Frames::follow(directory.path(), &strings);
    let mut console = Console::default();
    let heading = plan.heading;
    let ended = progress.step(heading, |step| {
        let outputs = Outputs {
            frames: &mut frames,
            console: &mut console,
            step,
            show_records: false,
        };
        run::run(&machine.command(), Input::None, Some(limit), |_| Next::GoOn, outputs)
    })?;
    let what = || format!("{heading}; the console said:\n{}", console.text());
    let Some(status) = ended.status else {
        return Err(anyhow::anyhow!("it took longer than {} s", limit.as_secs()).context(what()));
    };
    if !status.success() || !ended.guest.damaged.is_empty() {
        return Err(anyhow::anyhow!("the test kernel ended with {status}").context(what()));
    }
    Ok((ended.guest, console.text().to_owned()))
}

/// The statements of a boot, one a line.
fn script(pass: Pass, mode: Mode) -> String {
    let program = |program: &str, label: String, arguments: String| Program {
        program: program.to_owned(),
        label,
        arguments,
    };
    let mut statements = Vec::new();
    if pass == Pass::Counts {
        statements.push(Statement::Pace(mode.pace()));
    }
    let service = program(SERVICE, SERVICE.to_owned(), mode.words().to_owned());
    statements.push(Statement::Service(service, MAJOR));
    for (number, shapes) in (1..).zip(pass.shapes().chunks(WORDS)) {
        let words: Vec<String> = shapes.iter().map(|shape| shape.word(pass.ops(*shape))).collect();
        let arguments = format!("label={SERVICE} minor=0 {}", words.join(" "));
        statements.push(Statement::Run(program(CLIENT, format!("{CLIENT}{number}"), arguments)));
    }
    statements.push(Statement::Down(SERVICE.to_owned()));
    lines_of(&statements)
}

/// The statements, one a line.
pub(super) fn lines_of(statements: &[Statement<String>]) -> String {
    let line =
        |statement: &Statement<String>| serde_json::to_string(statement).expect("statements are plain data") + "\n";
    statements.iter().map(line).collect()
}

/// What a client and the kernel reported, as rows.
fn rows_of(guest: &Guest, pass: Pass, mode: Mode) -> Result<Vec<Row>> {
    let requests = records!(guest, Record::Requests { name, operation, depth, segments, bytes, ops, micros, nanos, buckets } => {
        let is_timed = pass.is_timed();
        let row = Row {
            contender: CONTENDER.to_owned(),
            operation: pass.operation(operation, segments),
            depth,
            segments,
            bytes,
            mode: mode.name().to_owned(),
            rate: is_timed.then(|| ops as f64 * 1e6 / micros.max(1) as f64),
            latency_micros: is_timed.then_some(latency(nanos, &buckets)),
            ..Row::default()
        };
        (name, ops, row)
    });
    if !pass.is_timed() {
        check_counter(guest)?;
    }
    let mut rows = Vec::new();
    for (name, ops, row) in requests {
        match pass {
            Pass::Rates { .. } => rows.push(row),
            Pass::Wait => rows.push(waited(guest, name, row)?),
            Pass::Counts => rows.extend(counted(guest, name, ops, &row)?),
        }
    }
    let wanted = pass.shapes().len();
    let found = rows.iter().filter(|row| row.stage.is_none()).count();
    if found != wanted {
        bail!("{found} of {wanted} measurements were reported");
    }
    Ok(rows)
}

/// Makes sure that the kernel counts the instructions of a process, and none of its own.
fn check_counter(guest: &Guest) -> Result<()> {
    let [without, with] = CALIBRATION.names.map(|name| measured(guest, name));
    let counted = with?.0.wrapping_sub(without?.0);
    let wanted = CALIBRATION.traps * CALIBRATION.instructions_per_trap;
    if counted != wanted {
        bail!("the counter of this QEMU is not exact: {counted} instructions for {wanted}");
    }
    Ok(())
}

/// The instructions of the measurement with this name, and its microseconds.
fn measured(guest: &Guest, name: &str) -> Result<(u64, u64)> {
    let mut found = records!(guest, Record::Measure { name, instructions, micros, .. } => (name, instructions, micros));
    let found = found.find(|(found, ..)| *found == name);
    let (_, instructions, micros) = found.with_context(|| format!("the kernel did not measure {name}"))?;
    Ok((instructions, micros))
}

fn waited(guest: &Guest, name: &str, row: Row) -> Result<Row> {
    let (instructions, micros) = measured(guest, name)?;
    let hart = micros.max(1) as f64 * INSTRUCTIONS_PER_MICRO;
    Ok(Row {
        cpu_share: Some(instructions as f64 / hart),
        ..row
    })
}

/// The row of the whole request, and those of its stages.
fn counted(guest: &Guest, name: &str, ops: u64, row: &Row) -> Result<Vec<Row>> {
    let each = |count: u64| Some(count as f64 / ops as f64);
    let (instructions, _) = measured(guest, name)?;
    let mut signals = records!(guest, Record::Signals { name, notifies, interrupts } => (name, notifies, interrupts));
    let signals = signals.find(|(found, ..)| *found == name);
    let (_, notifies, interrupts) = signals.with_context(|| format!("no signals of {name}"))?;
    let stages =
        records!(guest, Record::Stage { name, from, to, times, instructions } => (name, from, to, times, instructions));
    let stages: Vec<_> = stages.filter(|(found, ..)| *found == name).collect();
    let calls = stages.iter().map(|(_, _, _, times, _)| times).sum();
    let mut rows = vec![Row {
        instructions_per_request: each(instructions),
        notifies_per_request: each(notifies),
        interrupts_per_request: each(interrupts),
        calls_per_request: each(calls),
        ..row.clone()
    }];
    rows.extend(stages.into_iter().map(|(_, from, to, times, instructions)| Row {
        stage: Some(stage(from, to)),
        instructions_per_request: each(instructions),
        calls_per_request: each(times),
        ..row.clone()
    }));
    Ok(rows)
}

/// The name of what lies between two calls.
fn stage(from: Call, to: Call) -> String {
    format!("{} to {}", from.word(), to.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::Latency;
    use guest_protocol::LINE_BYTES;
    use guest_protocol::histogram::BUCKETS;

    fn guest(records: &[Record<'_>]) -> Guest {
        let mut guest = Guest::default();
        for record in records {
            guest.hear(Duration::ZERO, record.line(&mut [0; LINE_BYTES]));
        }
        guest.end();
        guest
    }

    fn measure(name: &'static str, instructions: u64, micros: u64) -> Record<'static> {
        Record::Measure {
            name,
            label: SERVICE,
            instructions,
            micros,
        }
    }

    fn requests(name: &'static str) -> Record<'static> {
        Record::Requests {
            name,
            operation: "read",
            depth: 8,
            segments: 1,
            bytes: 4096,
            ops: 100,
            micros: 2000,
            nanos: [10_000, 20_000, 30_000],
            buckets: [0; BUCKETS],
        }
    }

    fn stage_of(from: Call, to: Call, times: u64, instructions: u64) -> Record<'static> {
        Record::Stage {
            name: "a",
            from,
            to,
            times,
            instructions,
        }
    }

    fn base(mode: Mode) -> Row {
        Row {
            contender: CONTENDER.into(),
            operation: "read".into(),
            depth: 8,
            segments: 1,
            bytes: 4096,
            mode: mode.name().into(),
            ..Row::default()
        }
    }

    #[test]
    fn counts_are_for_one_request_and_stage_by_stage() {
        let guest = guest(&[
            measure("a", 50_000, 1),
            Record::Signals {
                name: "a",
                notifies: 25,
                interrupts: 50,
            },
            stage_of(Call::Receive, Call::Map, 100, 20_000),
            stage_of(Call::Map, Call::Receive, 50, 30_000),
        ]);
        let rows = counted(&guest, "a", 100, &base(Mode::Polled)).unwrap();
        let whole = Row {
            instructions_per_request: Some(500.0),
            notifies_per_request: Some(0.25),
            interrupts_per_request: Some(0.5),
            calls_per_request: Some(1.5),
            ..base(Mode::Polled)
        };
        let part = |stage: &str, instructions, calls| Row {
            stage: Some(stage.into()),
            instructions_per_request: Some(instructions),
            calls_per_request: Some(calls),
            ..base(Mode::Polled)
        };
        let parts = [part("receive to map", 200.0, 1.0), part("map to receive", 300.0, 0.5)];
        assert_eq!(rows[0], whole);
        assert_eq!(rows[1..], parts);
    }

    #[test]
    fn a_measurement_that_is_missing_is_an_error() {
        let without_kernel = guest(&[requests("a")]);
        assert!(counted(&without_kernel, "a", 100, &base(Mode::Polled)).is_err());
        let error = rows_of(&without_kernel, Pass::Rates { ops: 1 }, Mode::Polled).unwrap_err();
        assert_eq!(error.to_string(), "1 of 34 measurements were reported");
    }

    #[test]
    fn a_counter_that_counts_the_kernel_is_refused() {
        let [none, all] = CALIBRATION.names;
        assert!(check_counter(&guest(&[measure(none, 90, 1), measure(all, 3090, 1)])).is_ok());
        let error = check_counter(&guest(&[measure(none, 91, 1), measure(all, 4091, 1)])).unwrap_err();
        let text = "the counter of this QEMU is not exact: 4000 instructions for 3000";
        assert_eq!(error.to_string(), text);
        assert!(check_counter(&guest(&[measure(none, 90, 1)])).is_err());
    }

    #[test]
    fn what_is_measured_in_two_passes_is_one_row() {
        let exact = Row {
            instructions_per_request: Some(500.0),
            ..base(Mode::Polled)
        };
        let timed = Row {
            rate: Some(50_000.0),
            latency_micros: Some(Latency::default()),
            ..base(Mode::Polled)
        };
        let mut rows = Vec::new();
        put(&mut rows, exact.clone());
        put(&mut rows, timed.clone());
        put(&mut rows, base(Mode::Interrupts));
        let both = Row {
            instructions_per_request: Some(500.0),
            ..timed
        };
        assert_eq!(rows, [both, base(Mode::Interrupts)]);
    }

    #[test]
    fn waiting_is_a_share_of_one_hart() {
        let guest = guest(&[measure("a", 500_000, 1000)]);
        let row = waited(&guest, "a", base(Mode::Polled)).unwrap();
        assert_eq!(row.cpu_share, Some(0.5));
        assert_eq!(Pass::Wait.operation("read", 1), "slow-read");
    }

    #[test]
    fn only_boots_that_count_hold_notifications_back() {
        let first = |pass, mode| script(pass, mode).lines().next().unwrap().to_owned();
        assert_eq!(first(Pass::Counts, Mode::Polled), r#"{"pace":"at-once"}"#);
        assert_eq!(first(Pass::Counts, Mode::Interrupts), r#"{"pace":"when-all-wait"}"#);
        for pass in [Pass::Rates { ops: 1 }, Pass::Wait] {
            assert!(first(pass, Mode::Polled).starts_with(r#"{"service":"#));
            assert!(!script(pass, Mode::Interrupts).contains("pace"));
        }
    }
}
