//! The content that a witness writes: each sector names the request and the witness.

/// The lower half of every seed. It is the same for all, as the pattern wants seeds that differ above, and what was written to
/// another place shows by it on a disk of less than 2^26 sectors.
const LOWER: u64 = 0x7e57_0000;

/// Largest number of a witness.
pub const MAX_CLIENT: u32 = 0xff;
/// Largest number of a request.
pub const MAX_NUMBER: u32 = 0x00ff_ffff;

/// The seed of the pattern that a request of a witness writes. Numbers above the largest ones are taken modulo.
pub const fn seed(client: u32, number: u32) -> u64 {
    (((client & MAX_CLIENT) as u64) << 56) | (((number & MAX_NUMBER) as u64) << 32) | LOWER
}

/// The witness and its request that a seed belongs to, if it is such a seed.
pub const fn of_seed(seed: u64) -> Option<(u32, u32)> {
    let is_one = seed & 0xffff_ffff == LOWER;
    if is_one {
        Some(((seed >> 56) as u32, (seed >> 32) as u32 & MAX_NUMBER))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SECTOR_BYTES, pattern};

    #[test]
    fn a_sector_tells_its_request_unless_it_is_in_another_place() {
        let mut bytes = [0; SECTOR_BYTES];
        for (client, number) in [(0, 0), (3, 70_000), (MAX_CLIENT, MAX_NUMBER)] {
            pattern::fill(seed(client, number), 100_352, &mut bytes);
            let of = |sector| pattern::seed_of(sector, &bytes).and_then(of_seed);
            assert_eq!(of(100_352), Some((client, number)));
            for moved in [1, 0x400, 1 << 25] {
                assert_eq!(of(100_352 ^ moved), None, "{moved}");
            }
        }
    }
}
