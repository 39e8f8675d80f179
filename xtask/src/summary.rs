//! A report as the last lines on the terminal.

use crate::disk::Input;
use crate::judge::CHECKS;
use crate::minix::scenario::must_fail;
use crate::report::{Check, Minix, Report, total};

/// The last lines of a run.
pub(crate) fn lines(report: &Report, input: Option<&Input>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(minix) = &report.guest.minix {
        block_tests(minix, &mut lines);
        services(minix, &mut lines);
        done(report, &mut lines);
    }
    let host = &report.host;
    if host.digests > 0 {
        lines.push(format!(
            "host: {} of {} sampled ranges read alike by guest and host ({} sectors)",
            host.digests_equal, host.digests, host.digested_sectors
        ));
    }
    if host.files > 0 {
        lines.push(format!(
            "host: {} of {} files of the MINIX file system are what the host made",
            host.files_equal, host.files
        ));
    }
    if let Some(most) = host.requests_at_once {
        lines.push(format!("host: QEMU saw up to {most} requests in the device at once"));
    }
    if let Some(flushes) = host.flushes_after_writes {
        lines.push(format!(
            "host: flushes after the last write, as the device saw them: {flushes}"
        ));
    }
    for report in host.backends.iter().filter_map(|seen| seen.report.as_ref()) {
        lines.push(format!(
            "host: the back-end served {} reads, {} writes and {} flushes, with up to {} data descriptors each",
            report.reads, report.writes, report.flushes, report.most_data_descriptors
        ));
    }
    if let Some(comparison) = &host.comparison {
        lines.push(format!("host: {comparison}"));
    }
    if let (Some(unchanged), Some(input)) = (host.file_unchanged, input) {
        lines.push(format!(
            "host: {} {}",
            input.name(),
            if unchanged { "is unchanged" } else { "HAS CHANGED" }
        ));
    }
    lines.extend(report.reasons.iter().skip(1).map(|reason| format!("also: {reason}")));
    lines.push(if report.passed { "PASS" } else { "FAIL" }.to_owned());
    lines
}

/// Every check of the block test by its number, one column for each run of it.
fn block_tests(minix: &Minix, lines: &mut Vec<String>) {
    let runs = minix.block_test_labels();
    if runs.is_empty() {
        return;
    }
    lines.push(format!("block test: {}", runs.join(", ")));
    for number in 1..=CHECKS {
        let checks = || minix.checks.iter().filter(|check| check.number == number);
        let Some(any) = checks().next() else { continue };
        let results: Vec<&str> = runs
            .iter()
            .map(|run| together(checks().filter(|check| check.run == *run)))
            .collect();
        lines.push(format!(
            "  {number:>2} {} {:<44} {}",
            any.group,
            any.name,
            results.join(" ")
        ));
    }
    for run in runs {
        let of_run = |result| {
            minix
                .checks
                .iter()
                .filter(move |check| check.run == run && check.result == result)
                .count()
        };
        lines.push(format!(
            "{run}: {} passed, {} failed, {} skipped",
            of_run("pass"),
            of_run("fail"),
            of_run("skip")
        ));
    }
}

/// One word for all that was checked under a number.
fn together<'c>(checks: impl Iterator<Item = &'c Check>) -> &'static str {
    let results: Vec<&str> = checks.map(|check| check.result).collect();
    if results.is_empty() {
        "none"
    } else if results.contains(&"fail") {
        "FAIL"
    } else if results.contains(&"pass") {
        "pass"
    } else {
        "skip"
    }
}

/// What became of the services.
fn services(minix: &Minix, lines: &mut Vec<String>) {
    if !minix.kills.is_empty() {
        let in_flight = total(minix.kills.iter().map(|kill| kill.in_flight));
        let sum = |of: fn(&crate::report::Load) -> u64| total(minix.loads.iter().map(of));
        lines.push(format!(
            "{} kills, {} restarts, {in_flight} requests were not answered when the service died",
            minix.kills.len(),
            minix.restarts.len()
        ));
        lines.push(format!(
            "{} clients: {} reads and {} writes acknowledged, {} requests sent again, {} times opened again",
            minix.loads.len(),
            sum(|load| load.reads),
            sum(|load| load.writes),
            sum(|load| load.retried),
            sum(|load| load.reopened)
        ));
    }
    // Who left by itself leaves nothing to look for.
    if !minix.kills.is_empty() || !minix.restarts.is_empty() {
        let sum = |of: fn(&crate::report::Poison) -> u64| total(minix.poison.iter().map(of));
        lines.push(format!(
            "memory of dead instances: {} frames, {} changed while they were still its own, {} later",
            sum(|poison| poison.frames),
            sum(|poison| poison.before),
            sum(|poison| poison.after)
        ));
    }
    for measure in &minix.measures {
        let percent = measure.instructions as f64 / (measure.micros as f64 * 10.0);
        lines.push(format!(
            "{}: {} took {} instructions in {:.3} s, {percent:.3} % of a hart at 1000 a microsecond",
            measure.name,
            measure.label,
            measure.instructions,
            measure.micros as f64 / 1e6
        ));
    }
    if !minix.overlaps.is_empty() {
        lines.push(format!(
            "{} clients had up to {} requests out together",
            minix.overlaps.len(),
            total(minix.overlaps.iter().map(|overlap| overlap.max_in_flight))
        ));
    }
    for down in &minix.downs {
        lines.push(format!(
            "{} left {:.1} ms after {}, its device {}",
            down.label,
            down.micros as f64 / 1e3,
            match down.since.as_str() {
                "close" => "the last close",
                _ => "SIGTERM",
            },
            if down.status == 0 { "reset" } else { "NOT RESET" }
        ));
    }
}

fn done(report: &Report, lines: &mut Vec<String>) {
    if let Some(done) = &report.guest.done {
        let started = report.guest.minix.iter().flat_map(|minix| &minix.started);
        let must_fail = started.filter(|client| must_fail(&client.label)).count();
        let expected = (must_fail > 0).then(|| format!(" ({must_fail} must)"));
        lines.push(format!(
            "scenario: {} statements passed, {} failed{}",
            done.passed,
            done.failed,
            expected.unwrap_or_default()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Guest;

    fn services_of(text: &str) -> Vec<String> {
        let records: Vec<String> = text.lines().map(|line| format!("\x1e{line}")).collect();
        let guest = Guest::of_minix(&records);
        assert!(guest.damaged.is_empty(), "{:?}", guest.damaged);
        let mut lines = Vec::new();
        services(&guest.minix.unwrap(), &mut lines);
        lines
    }

    #[test]
    fn the_memory_of_the_dead_is_told_where_there_are_dead() {
        let poison = "poison frames=9 before=1 after=0\n";
        assert_eq!(services_of(poison), Vec::<String>::new());
        let restart = "restarted label=s old=1 new=2\n";
        assert_eq!(
            services_of(&format!("{restart}{poison}")),
            ["memory of dead instances: 9 frames, 1 changed while they were still its own, 0 later"]
        );
    }

    #[test]
    fn a_failure_that_has_to_be_is_told_as_one() {
        let run = |label: &str| {
            let records = [
                format!("\x1estarted label={label} endpoint=9 program=shell"),
                "\x1edone passed=9 failed=1".to_owned(),
            ];
            let report = Report {
                guest: Guest::of_minix(&records),
                ..Report::default()
            };
            let mut lines = Vec::new();
            done(&report, &mut lines);
            lines
        };
        assert_eq!(run("refused"), ["scenario: 9 statements passed, 1 failed (1 must)"]);
        assert_eq!(run("shell"), ["scenario: 9 statements passed, 1 failed"]);
    }

    #[test]
    fn clients_are_told_together() {
        let overlap = "overlap clients=1 outstanding=2 max_in_flight=2\n";
        assert_eq!(
            services_of(&overlap.repeat(4)),
            ["4 clients had up to 8 requests out together"]
        );
    }

    #[test]
    fn counters_of_all_ones_are_added_up() {
        let overlap = format!("overlap clients=1 outstanding=2 max_in_flight={}\n", u64::MAX);
        assert_eq!(
            services_of(&overlap.repeat(2)),
            ["2 clients had up to 36893488147419103230 requests out together"]
        );
    }

    #[test]
    fn the_end_of_a_service_counts_from_what_made_it_end() {
        assert_eq!(
            services_of(
                "down label=virtio_blk_mmio us=1500 status=0 forced=0 since=term\n\
                 down label=virtio_blk_mmio us=2500 status=0 forced=0 since=close\n"
            ),
            [
                "virtio_blk_mmio left 1.5 ms after SIGTERM, its device reset",
                "virtio_blk_mmio left 2.5 ms after the last close, its device reset"
            ]
        );
    }
}
