//! The content of a sector, as far as contents are told apart.

use std::fmt;

use guest_protocol::{SECTOR_BYTES, pattern, witness};

/// A request of a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    pub client: u32,
    pub number: u32,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {} of witness {}", self.number, self.client)
    }
}

/// What a sector holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// The content of the disk before the first step.
    Original,
    Zeros,
    /// What this request wrote, whole and in its place.
    Written(Request),
    /// None of these.
    Strange,
}

impl Content {
    /// The content of these bytes of a sector. [`Original`](Self::Original) is not known by its bytes.
    pub fn of(sector: u64, bytes: &[u8; SECTOR_BYTES]) -> Self {
        if bytes.iter().all(|&byte| byte == 0) {
            return Self::Zeros;
        }
        let request = pattern::seed_of(sector, bytes).and_then(witness::of_seed);
        request.map_or(Self::Strange, |(client, number)| {
            Self::Written(Request { client, number })
        })
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original => f.write_str("what was there at first"),
            Self::Zeros => f.write_str("zeroes"),
            Self::Written(request) => write!(f, "what {request} wrote"),
            Self::Strange => f.write_str("what no request wrote"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_sectors_are_known_and_torn_ones_are_strange() {
        let mut bytes = [0; SECTOR_BYTES];
        assert_eq!(Content::of(9, &bytes), Content::Zeros);
        pattern::fill(witness::seed(2, 77), 9, &mut bytes);
        let request = Request { client: 2, number: 77 };
        assert_eq!(Content::of(9, &bytes), Content::Written(request));
        assert_eq!(Content::of(10, &bytes), Content::Strange);
        bytes[256..].fill(0);
        assert_eq!(Content::of(9, &bytes), Content::Strange);
    }
}
