//! The names of block special files, and the devices they stand for.

use minix_abi::minor::{Minor, Place};

/// The folder of all special files.
const DIRECTORY: &str = "/dev/";

/// The device of a name such as `/dev/c0d0`, `/dev/c0d0p1` or `/dev/c0d0p1s2`: the major number and the minor. `None` for every
/// other name.
///
/// ```
/// use minix_abi::minor::Minor;
/// use testkernel::device_name::device;
///
/// assert_eq!(device("/dev/c0d0p2"), Some((3, Minor(3))));
/// assert_eq!(device("/dev/console"), None);
/// ```
pub fn device(name: &str) -> Option<(u32, Minor)> {
    let rest = name.strip_prefix(DIRECTORY)?;
    let (controller, rest) = part(rest, 'c')?;
    let major = match controller? {
        0 => 3,
        1 => 8,
        2 => 10,
        3 => 12,
        _ => return None,
    };
    let (drive, rest) = part(rest, 'd')?;
    let drive = drive?;
    let (partition, rest) = part(rest, 'p')?;
    let (sub, rest) = part(rest, 's')?;
    let place = match (partition, sub) {
        (None, None) => Place::Drive { drive },
        (Some(partition), None) => Place::Partition { drive, partition },
        (Some(partition), Some(sub)) => Place::SubPartition { drive, partition, sub },
        (None, Some(_)) => return None,
    };
    let minor = place.minor().filter(|_| rest.is_empty())?;
    Some((major, minor))
}

/// A letter and a digit, if the text begins with that letter, and the text after them. `None` for a letter without a digit.
fn part(text: &str, letter: char) -> Option<(Option<u8>, &str)> {
    let Some(rest) = text.strip_prefix(letter) else {
        return Some((None, text));
    };
    let (digit, rest) = rest.split_at_checked(1)?;
    Some((Some(digit.parse().ok()?), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_the_devices_that_makedev_makes() {
        for (name, major, minor) in [
            ("/dev/c0d0", 3, 0),
            ("/dev/c0d0p0", 3, 1),
            ("/dev/c1d1p3", 8, 9),
            ("/dev/c0d0p0s0", 3, 128),
            ("/dev/c3d1p2s1", 12, 153),
        ] {
            assert_eq!(device(name), Some((major, Minor(minor))), "{name}");
        }
    }

    #[test]
    fn other_names_are_none_of_a_device() {
        for name in [
            "",
            "/dev/",
            "c0d0",
            "/dev/c0",
            "/dev/d0",
            "/dev/c4d0",
            "/dev/c0d8",
            "/dev/c0d0p4",
            "/dev/c0d0s0",
            "/dev/c0d0p0s",
            "/dev/c0d0x",
            "/dev/c0d0p0s0x",
        ] {
            assert_eq!(device(name), None, "{name}");
        }
    }
}
