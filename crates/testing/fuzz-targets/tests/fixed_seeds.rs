//! Each target on a few thousand inputs that are the same in every run: the committed seeds, mutations of them, and random bytes.

use std::path::Path;

use fastrand::Rng;

/// Inputs made of each seed, and inputs made of nothing.
const MUTATIONS: usize = if cfg!(miri) { 1 } else { 400 };
const RANDOM: usize = if cfg!(miri) { 4 } else { 2_000 };

/// The longest random input, in bytes.
const LONGEST: usize = 2_000;

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "{target} has no seed");
    seeds
}

/// Bytes changed, moved, taken out, put in.
fn mutate(input: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..6) {
        if input.is_empty() {
            input.push(random.u8(..));
        }
        let at = random.usize(..input.len());
        match random.u8(..6) {
            0 => input[at] ^= 1 << random.u8(..8),
            1 => input[at] = random.u8(..),
            2 => input[at] = *random.choice(&[0, 1, 0x7F, 0x80, 0xFE, 0xFF]).unwrap(),
            3 => drop(input.remove(at)),
            4 => input.insert(at, random.u8(..)),
            _ => {
                let from = random.usize(..input.len());
                let part = input[from..input.len().min(from + random.usize(1..32))].to_vec();
                input.splice(at..at, part);
            }
        }
    }
}

/// Runs a target on every input. `share` divides their number, for targets that are slow.
fn run(name: &str, share: usize, target: fn(&[u8])) {
    let mut random = Rng::with_seed(0x5EED);
    for seed in seeds(name) {
        target(&seed);
        for _ in 0..(MUTATIONS / share).max(1) {
            let mut input = seed.clone();
            mutate(&mut input, &mut random);
            target(&input);
        }
    }
    for _ in 0..(RANDOM / share).max(1) {
        let mut input = vec![0; random.usize(..LONGEST)];
        random.fill(&mut input);
        target(&input);
    }
}

#[test]
fn bdev() {
    run("bdev", 1, fuzz_targets::bdev);
}

#[test]
fn device_tree() {
    run("device_tree", 1, fuzz_targets::device_tree);
}

#[test]
fn guest_records() {
    run("guest_records", 1, fuzz_targets::guest_records);
}

#[test]
fn hostile_device() {
    run("hostile_device", 1, fuzz_targets::hostile_device);
}

#[test]
fn partitions() {
    run("partitions", 1, fuzz_targets::partitions);
}

/// Each walks over a whole bus.
#[test]
fn pci_bus() {
    run("pci_bus", 20, fuzz_targets::pci_bus);
}
