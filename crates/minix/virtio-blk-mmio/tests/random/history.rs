//! What each sector was asked to hold, in the order in which the requests came: what reads may see, and what a power cut may
//! leave.

use virtio_blk_model::{Model, noise};

use crate::plan::{MOST_SECTORS, TABLE_SECTORS};

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Pending,
    /// It was acknowledged.
    Done,
    /// It failed, and may have happened all the same.
    Unknown,
    /// It did not happen.
    Never,
}

/// What a request leaves in sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// The data of a write, which is made of the number of the write.
    Data,
    Zeroes,
    /// What the device gives for sectors that were discarded or erased.
    Noise,
}

#[derive(Clone, Copy, Debug)]
struct Version {
    /// When the write came.
    arrival: u64,
    /// Which write.
    write: u32,
    pattern: Pattern,
    end: End,
}

impl Version {
    /// Whether this may be what a sector holds.
    fn is(&self, sector: u64, bytes: &[u8]) -> bool {
        let held = match self.pattern {
            Pattern::Data => written_by(sector, bytes) == Some(self.write),
            Pattern::Zeroes => bytes.iter().all(|&byte| byte == 0),
            Pattern::Noise => bytes == noise(sector),
        };
        held && self.end != End::Never
    }
}

struct Sector {
    versions: Vec<Version>,
    /// Place of the last version that was promised to survive a power cut.
    floor: usize,
}

/// The content that a write gives a sector. Write 0 is what the disk held at first.
pub(crate) fn content(write: u32, sector: u64) -> [u8; 512] {
    let seed = (u64::from(write) << 32 | sector).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut words = [[0; 8]; 64];
    // Plain steps: a run makes thousands of these, mostly in builds that are not optimised.
    let mut nth = 0;
    while nth < 64 {
        words[nth] = seed.rotate_left(nth as u32).to_le_bytes();
        nth += 1;
    }
    words[0][..4].copy_from_slice(&write.to_le_bytes());
    *words.as_flattened().first_chunk().expect("64 words are 512 bytes")
}

/// The content that a write gives `count` sectors.
pub(crate) fn contents(write: u32, first: u64, count: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count as usize * 512);
    for sector in first..first + count {
        bytes.extend_from_slice(&content(write, sector));
    }
    bytes
}

/// Which write gave `sector` this content; `None` if none did.
fn written_by(sector: u64, bytes: &[u8]) -> Option<u32> {
    let write = u32::from_le_bytes(*bytes.first_chunk()?);
    (content(write, sector) == bytes).then_some(write)
}

pub(crate) struct History {
    sectors: Vec<Sector>,
    /// The sectors with the partition table, which no client writes.
    table: Vec<u8>,
}

impl History {
    /// That of a disk which holds what [`content`] says for write 0, except for the sectors of `table`.
    pub(crate) fn new(table: Vec<u8>) -> Self {
        let first = Version {
            arrival: 0,
            write: 0,
            pattern: Pattern::Data,
            end: End::Done,
        };
        let sector = || Sector {
            versions: vec![first],
            floor: 0,
        };
        Self {
            sectors: (0..MOST_SECTORS).map(|_| sector()).collect(),
            table,
        }
    }

    /// A write of these sectors has come, or another request that changes them.
    pub(crate) fn write(&mut self, first: u64, count: u64, arrival: u64, write: u32, pattern: Pattern) {
        for sector in first..(first + count).min(MOST_SECTORS) {
            self.sectors[sector as usize].versions.push(Version {
                arrival,
                write,
                pattern,
                end: End::Pending,
            });
        }
    }

    /// A write is over, as far as these sectors are concerned.
    pub(crate) fn ended(&mut self, first: u64, count: u64, write: u32, end: End, durable: bool) {
        for sector in first..(first + count).min(MOST_SECTORS) {
            let sector = &mut self.sectors[sector as usize];
            let place = sector.versions.iter().rposition(|version| version.write == write);
            let Some(place) = place else { continue };
            sector.versions[place].end = end;
            if durable && end == End::Done {
                sector.floor = sector.floor.max(place);
            }
        }
    }

    /// Every acknowledged write that came after `after` and before `before` is promised to survive.
    pub(crate) fn promised(&mut self, after: u64, before: u64) {
        for sector in &mut self.sectors {
            let last = sector.versions.iter().rposition(|version| {
                version.end == End::Done && version.arrival < before && (version.arrival > after || after == 0)
            });
            sector.floor = sector.floor.max(last.unwrap_or(0));
        }
    }

    /// Whether a read that came at `arrival` may find these bytes in a sector.
    pub(crate) fn check_read(&self, number: u64, arrival: u64, bytes: &[u8]) -> Result<(), String> {
        if let Some(table) = self.table_sector(number) {
            return if bytes == table {
                Ok(())
            } else {
                Err(format!(
                    "sector {number}, which no client writes, reads as something else"
                ))
            };
        }
        let versions = &self.sectors[number as usize].versions;
        for version in versions.iter().rev().filter(|version| version.arrival < arrival) {
            if version.is(number, bytes) {
                return Ok(());
            }
            if version.end == End::Done {
                break;
            }
        }
        Err(format!(
            "sector {number}: a read that came at {arrival} found {}; versions {}",
            name(number, bytes),
            list(versions)
        ))
    }

    fn check_medium(&self, number: u64, bytes: &[u8; 512]) -> Result<(), String> {
        if let Some(table) = self.table_sector(number) {
            return if bytes == table {
                Ok(())
            } else {
                Err(format!("sector {number}, which no client writes, was written"))
            };
        }
        let sector = &self.sectors[number as usize];
        let survivors = &sector.versions[sector.floor..];
        if survivors.iter().any(|version| version.is(number, bytes)) {
            return Ok(());
        }
        Err(format!(
            "sector {number} can hold {} after a power cut; versions {}, of which number {} was promised",
            name(number, bytes),
            list(&sector.versions),
            sector.floor
        ))
    }

    /// Checks the content that a power cut would leave now, in the sectors with unflushed writes.
    pub(crate) fn check_unflushed(&self, model: &Model) -> Result<(), String> {
        let mut result = Ok(());
        model.visit_unflushed(|sector, contents| {
            for content in contents {
                if result.is_ok() {
                    result = self.check_medium(sector, content);
                }
            }
        });
        result
    }

    /// Looks at what a power cut would leave now, everywhere.
    pub(crate) fn check_all(&self, model: &Model) -> Result<(), String> {
        self.check_unflushed(model)?;
        let disk = model.read_disk(0, MOST_SECTORS);
        let (sectors, _) = disk.as_chunks::<512>();
        for (number, bytes) in (0..).zip(sectors) {
            self.check_medium(number, bytes)?;
        }
        Ok(())
    }

    fn table_sector(&self, number: u64) -> Option<&[u8]> {
        let start = number as usize * 512;
        (number < TABLE_SECTORS).then(|| &self.table[start..start + 512])
    }
}

fn name(number: u64, bytes: &[u8]) -> String {
    match written_by(number, bytes) {
        Some(write) => format!("write {write}"),
        None if bytes == noise(number) => "what a discard leaves".to_string(),
        None => format!("no content of any write ({:02x?}...)", &bytes[..8]),
    }
}

fn list(versions: &[Version]) -> String {
    let each = |version: &Version| {
        format!(
            "{} {:?}@{} {:?}",
            version.write, version.pattern, version.arrival, version.end
        )
    };
    versions.iter().map(each).collect::<Vec<_>>().join(", ")
}
