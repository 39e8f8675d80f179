//! Content that either side can compute, and digests that either side can compare.
//!
//! Every 64-bit word of the disk has its own value, computed from a seed and the word's place. So a sector that was read
//! from, or written to, the wrong place is detected as surely as a sector that was damaged, and neither side sends the
//! data it wrote to the other.

use crc::{CRC_64_XZ, Crc, Table};

use crate::SECTOR_BYTES;

const WORD_BYTES: usize = size_of::<u64>();
const WORDS_PER_SECTOR: u64 = (SECTOR_BYTES / WORD_BYTES) as u64;

// Sixteen lanes of table: 32 KiB of read-only data buy a digest that does not dominate a guest run.
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// Word `k` (0..64) of `pattern(seed, sector)`: the finaliser of splitmix64 over `seed ^ (sector * 64 + k)`.
///
/// The word number is taken modulo 2^64. Seeds that differ only in low bits give the same words in another order, so take
/// seeds that differ above bit 32.
pub const fn word(seed: u64, sector: u64, k: u64) -> u64 {
    mix(seed ^ sector.wrapping_mul(WORDS_PER_SECTOR).wrapping_add(k))
}

/// The finaliser of splitmix64: numbers that are next to each other become numbers that have nothing to do with each other.
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The inverse of [`mix`].
pub const fn unmix(mut z: u64) -> u64 {
    // Undoes `z ^ (z >> SHIFT)` for a shift of at least a third of the bits.
    const fn unshift(z: u64, shift: u32) -> u64 {
        z ^ (z >> shift) ^ (z >> (2 * shift))
    }
    // The inverses of the two factors modulo 2^64.
    z = unshift(z, 31).wrapping_mul(0x3196_42b2_d24d_8ec3);
    z = unshift(z, 27).wrapping_mul(0x96de_1b17_3f11_9089);
    unshift(z, 30)
}

/// The seed of the pattern that the whole of `sector` holds, if `bytes`, which are all of its bytes, are one.
pub fn seed_of(sector: u64, bytes: &[u8; SECTOR_BYTES]) -> Option<u64> {
    let (first, _) = bytes.split_first_chunk::<WORD_BYTES>()?;
    let seed = unmix(u64::from_le_bytes(*first)) ^ sector.wrapping_mul(WORDS_PER_SECTOR);
    check(seed, sector, bytes).is_ok().then_some(seed)
}

/// Fills `buffer` with the pattern as if it started at the first byte of `sector`. Words are little-endian. The length
/// need not be a whole number of sectors or words.
pub fn fill(seed: u64, sector: u64, buffer: &mut [u8]) {
    for (k, bytes) in (0..).zip(buffer.chunks_mut(WORD_BYTES)) {
        let word = word(seed, sector, k).to_le_bytes();
        bytes.copy_from_slice(&word[..bytes.len()]);
    }
}

/// Whether `buffer` holds the pattern as if it started at the first byte of `sector`.
///
/// # Errors
///
/// The offset in bytes, from the start of `buffer`, of the first byte that differs.
pub fn check(seed: u64, sector: u64, buffer: &[u8]) -> Result<(), usize> {
    for (k, bytes) in (0..).zip(buffer.chunks(WORD_BYTES)) {
        let word = word(seed, sector, k).to_le_bytes();
        if let Some(byte) = bytes.iter().zip(&word).position(|(have, want)| have != want) {
            return Err(k as usize * WORD_BYTES + byte);
        }
    }
    Ok(())
}

/// CRC-64/XZ over bytes that come in pieces.
#[derive(Clone)]
pub struct Digest(crc::Digest<'static, u64, Table<16>>);

impl Digest {
    /// The digest of no bytes so far.
    pub fn new() -> Self {
        Digest(CRC.digest())
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Digest {
    fn default() -> Self {
        Digest::new()
    }
}

impl core::fmt::Debug for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Digest({:#x})", self.clone().finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_catalogued_one() {
        let mut digest = Digest::new();
        digest.update(b"1234");
        digest.update(b"56789");
        assert_eq!(digest.finish(), CRC_64_XZ.check);
    }

    #[test]
    fn a_pattern_is_bound_to_its_seed_and_its_sector() {
        let mut two = [0; 2 * SECTOR_BYTES];
        fill(9, 100, &mut two);
        let (first, second) = two.split_at(SECTOR_BYTES);
        assert_eq!(check(9, 100, &two), Ok(()));
        assert_eq!(check(9, 100, first), Ok(()));
        assert_eq!(check(9, 101, second), Ok(()));
        assert!(check(9, 101, first).is_err());
        assert!(check(8, 100, first).is_err());
    }

    #[test]
    fn the_seed_is_found_in_a_whole_sector_of_the_right_place() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(unmix(mix(number)), number);
            assert_eq!(mix(unmix(number)), number);
        }
        let mut bytes = [0; SECTOR_BYTES];
        for (seed, sector) in [(0, 0), (7 << 40, 100), (u64::MAX, u64::MAX)] {
            fill(seed, sector, &mut bytes);
            assert_eq!(seed_of(sector, &bytes), Some(seed));
            assert_ne!(seed_of(sector ^ 1, &bytes), Some(seed));
            bytes[511] ^= 1;
            assert_eq!(seed_of(sector, &bytes), None, "torn");
        }
    }

    #[test]
    fn the_first_differing_byte_is_found_at_any_length() {
        let mut bytes = [0; 2 * SECTOR_BYTES + 5];
        fill(1, 0, &mut bytes);
        assert_eq!(check(1, 0, &bytes), Ok(()));
        for place in [0, 7, 8, 511, 512, 1028] {
            bytes[place] ^= 0x10;
            assert_eq!(check(1, 0, &bytes), Err(place));
            bytes[place] ^= 0x10;
        }
    }

    #[test]
    fn the_words_are_the_ones_written_down() {
        // The finaliser maps 0 to 0; 1 is a value computed apart from this code.
        assert_eq!(word(0, 0, 0), 0);
        assert_eq!(word(1, 0, 0), 0x5692_161d_100b_05e5);
        assert_eq!(word(0, 0, 1), word(1, 0, 0));
        assert_eq!(word(0, 1, 0), word(64, 0, 0));
    }
}
