//! The bare image on every kind of hardware: interfaces of disks, ways to learn of completions, interrupt controllers, numbers of
//! queues. Each pair of them is booted, see [`pairs`].

use guest_protocol::{Device, Record};

use super::boot::{Run, Variant, expect, passes, same};
use super::check::{Check, Verdict};
use super::pairs;
use crate::report::records;

/// Interfaces: name, flags, version.
const INTERFACES: [(&str, &str, u32); 5] = [
    ("mmio", "--bus mmio", 2),
    ("mmio-legacy", "--bus mmio --legacy", 1),
    ("pci", "--bus pci", 2),
    ("pci-transitional", "--bus pci-transitional", 2),
    ("pci-legacy", "--bus pci --legacy", 1),
];

/// Ways to learn of completions.
const WAYS: [&str; 3] = ["polled", "line", "messages"];

/// Interrupt controllers: name, flag.
const CONTROLLERS: [(&str, &str); 3] = [
    ("plic", "--aia none"),
    ("aplic", "--aia aplic"),
    ("imsic", "--aia aplic-imsic"),
];

/// Numbers of queues, with as many harts.
const QUEUES: [u32; 3] = [1, 2, 4];

/// A combination: the place of each value in its list.
type Row = [usize; 4];

/// Whether there is such hardware: messages come from PCI disks and go to IMSICs.
fn exists(&[interface, way, controller, _]: &Row) -> bool {
    let is_pci = INTERFACES[interface].0.starts_with("pci");
    WAYS[way] != "messages" || is_pci && CONTROLLERS[controller].0 == "imsic"
}

fn rows() -> Vec<Row> {
    let mut all = Vec::new();
    for interface in 0..INTERFACES.len() {
        for way in 0..WAYS.len() {
            for controller in 0..CONTROLLERS.len() {
                all.extend((0..QUEUES.len()).map(|queues| [interface, way, controller, queues]));
            }
        }
    }
    all.retain(exists);
    pairs::cover(&all)
}

/// What the pairs do not reach: name, flags, and what must be seen.
const VARIANTS: [Variant; 7] = [
    // Fewer vectors than queues.
    (
        "vectors-2",
        "--bus pci --aia aplic-imsic --queues 4 --vectors 2",
        |run| vectors(run, &[1; 4]),
    ),
    (
        "vectors-1",
        "--bus pci --aia aplic-imsic --queues 4 --vectors 1",
        |run| vectors(run, &[0; 4]),
    ),
    // Several disks, on both buses.
    (
        "mixed",
        "--bus mmio,pci,mmio,pci-transitional --aia aplic-imsic --queues 2",
        |run| run.changed_disks(4),
    ),
    ("mixed/plic", "--bus pci,mmio --legacy", |run| run.changed_disks(2)),
    // More harts than queues.
    (
        "smp-8",
        "--bus pci --aia aplic-imsic --queues 2 --smp 8 --memory 256M",
        |_| Ok(()),
    ),
    // A device of another implementation.
    (
        "foreign/storage-daemon",
        "--bus pci --aia aplic-imsic --queues 2 --foreign storage-daemon",
        |run| vectors(run, &[1, 2]),
    ),
    ("load", "--bus pci --aia aplic-imsic --queues 4 --load 4", |run| {
        vectors(run, &[1, 2, 3, 4])
    }),
];

pub(super) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = rows().into_iter().map(check).collect();
    let variants = VARIANTS.into_iter();
    checks.extend(
        variants.map(|(name, flags, expectation)| {
            passes(&format!("hardware/{name}"), format!("--bare {flags}"), expectation)
        }),
    );
    checks.push(passes(
        "hardware/count",
        "--bare --bus pci --count --queues 4",
        same_cost,
    ));
    checks
}

/// A request costs the same instructions on each of four queues as on the only one.
fn same_cost(run: &Run) -> Verdict {
    let costs =
        records!(run.report.guest, Record::Cost { queues, number, submit, poll, .. } => (queues, number, submit, poll));
    let costs: Vec<_> = costs.collect();
    let found: Vec<_> = costs.iter().map(|(queues, number, ..)| (*queues, *number)).collect();
    expect(
        found == [(1, 0), (4, 0), (4, 1), (4, 2), (4, 3)],
        &format!("queues that were counted: {found:?}"),
    )?;
    let is_same = costs.iter().all(|cost| (cost.2, cost.3) == (costs[0].2, costs[0].3));
    expect(is_same, &format!("the costs differ: {costs:?}"))
}

/// The queues have these vectors.
fn vectors(run: &Run, wanted: &[u32]) -> Verdict {
    let found = records!(run.report.guest, Record::Queue { vector, .. } => vector.unwrap_or(u32::MAX));
    let found: Vec<u32> = found.collect();
    expect(
        found == wanted,
        &format!("the queues have the vectors {found:?}, wanted {wanted:?}"),
    )
}

fn check([interface, way, controller, queues]: Row) -> Check {
    let (name, bus, version) = INTERFACES[interface];
    let (way, queues) = (WAYS[way], QUEUES[queues]);
    let (controller, aia) = CONTROLLERS[controller];
    // A PCI disk uses messages where there are IMSICs, unless it has no vectors.
    let more = match way {
        "polled" => " --poll",
        "line" if name.starts_with("pci") => " --vectors 0",
        _ => "",
    };
    let flags = format!("--bare {bus} {aia} --queues {queues}{more}");
    let title = format!("matrix/{name}/{way}/{controller}/queues-{queues}");
    passes(&title, flags, move |run| {
        let device = run.device()?;
        same("version", device.version, version)?;
        same("queues of the device", device.queues, queues)?;
        let takes_messages = way == "messages" || way == "polled" && name.starts_with("pci") && controller == "imsic";
        same("vectors are there", device.vectors > 0, takes_messages)?;
        interrupted(run, way, &device)
    })
}

/// The completions came the way that was asked for, each vector on the hart of its queue.
fn interrupted(run: &Run, way: &str, device: &Device<'_>) -> Verdict {
    let guest = &run.report.guest;
    let queues =
        records!(guest, Record::Queue { number, hart, vector, requests, .. } => (number, hart, vector, requests));
    let queues: Vec<_> = queues.collect();
    same("queues that were used", queues.len(), device.queues as usize)?;
    for (number, _, vector, requests) in &queues {
        expect(*requests > 0, &format!("queue {number} had no request"))?;
        same(
            &format!("queue {number} has a vector"),
            vector.is_some(),
            way == "messages",
        )?;
    }
    let came = records!(guest, Record::Vector { vector, hart, interrupts } if interrupts > 0 => (vector, hart));
    let came: Vec<_> = came.collect();
    match way {
        "polled" => same("vectors and lines that interrupted", came.len(), 0),
        "line" => expect(
            !came.is_empty() && came.iter().all(|(vector, _)| vector.is_none()),
            "not the line alone interrupted",
        ),
        _ => queues.iter().try_for_each(|(number, hart, vector, _)| {
            let harts = came.iter().filter(|(of, _)| of == vector).map(|(_, hart)| hart);
            let harts: Vec<_> = harts.collect();
            expect(
                harts == [hart],
                &format!("the vector of queue {number} interrupted the harts {harts:?}, wanted {hart}"),
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_exist_and_are_few() {
        let rows = rows();
        assert!(rows.iter().all(exists));
        // As many as there are pairs of an interface and a number of queues, and a few more.
        assert!(rows.len() <= 18, "{}", rows.len());
    }
}
