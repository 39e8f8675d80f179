//! Which parts of a foreign disk the guest is to read, and which it may overwrite in the overlay.

use guest_protocol::SectorRange;

/// The most samples.
const MAX_SAMPLES: usize = 16;
/// Up to this size (64 MiB) the samples cover the whole disk.
const WHOLE: u64 = 131_072;
/// Sectors per sample of a larger disk (1 MiB).
const SAMPLE: u64 = 2048;
/// Sectors the guest may overwrite, at the end of the disk (1 MiB), ...
const SCRATCH: u64 = 2048;
/// ... if the disk is at least this large (4 MiB).
const LEAST_FOR_SCRATCH: u64 = 8192;
/// Everything is aligned to whole blocks of 4096 bytes.
const ALIGN: u64 = 8;

/// The ranges to digest on a disk of `sectors`, which is a whole number of blocks of `block` sectors.
pub(super) fn choose(sectors: u64, block: u64) -> Vec<SectorRange> {
    if sectors == 0 {
        return Vec::new();
    }
    let ranges = MAX_SAMPLES as u64;
    if sectors <= WHOLE {
        let step = sectors.div_ceil(ranges).next_multiple_of(ALIGN);
        return (0..sectors)
            .step_by(step as usize)
            .map(|first| SectorRange {
                first,
                count: step.min(sectors - first),
            })
            .collect();
    }
    // The first and the last range touch the ends, the others are spread evenly between.
    let last = (sectors - SAMPLE) / block * block;
    let spread = (0..ranges - 1).map(|index| {
        let first = u128::from(last) * u128::from(index) / u128::from(ranges - 1);
        SectorRange {
            first: first as u64 / ALIGN * ALIGN,
            count: SAMPLE,
        }
    });
    spread
        .chain([SectorRange {
            first: last,
            count: sectors - last,
        }])
        .collect()
}

/// The sectors the guest may overwrite. None on a small disk.
pub(super) fn scratch(sectors: u64) -> Option<SectorRange> {
    let first = sectors.checked_sub(SCRATCH)? / ALIGN * ALIGN;
    (sectors >= LEAST_FOR_SCRATCH).then_some(SectorRange { first, count: SCRATCH })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_nothing_to_sample_on_an_empty_disk() {
        assert_eq!((choose(0, 1), scratch(0)), (Vec::new(), None));
    }

    #[test]
    fn samples_reach_from_end_to_end_in_whole_blocks() {
        for (sectors, block) in [
            (1, 1),
            (720, 1),
            (131_072, 1),
            (131_073, 1),
            (131_080, 8),
            (1 << 40, 8),
            (u64::MAX / 512, 1),
        ] {
            let ranges = choose(sectors, block);
            assert!(ranges.len() <= MAX_SAMPLES && ranges[0].first == 0);
            assert_eq!(ranges[ranges.len() - 1].end(), sectors);
            for pair in ranges.windows(2) {
                let gap = pair[1].first - pair[0].end();
                assert!(gap == 0 || sectors > WHOLE, "{sectors}");
            }
            for range in ranges {
                assert!(range.count > 0 && range.first.is_multiple_of(block) && range.count.is_multiple_of(block));
            }
        }
    }

    #[test]
    fn scratch_is_aligned_and_inside() {
        assert_eq!(scratch(8191), None);
        for sectors in [8192, 8193, 8199, 1 << 33] {
            let range = scratch(sectors).unwrap();
            assert!(range.first.is_multiple_of(8) && range.count.is_multiple_of(8) && range.end() <= sectors);
        }
    }
}
