//! What a device tells of itself when asked where it lies and how many cylinders it has.

use minix_abi::ioctl::PartGeom;

use super::table::Extent;
use crate::device::Geometry;

/// The answer to a request for base, size and geometry.
///
/// `own` is the geometry of the disk. Where it has none, or one in which no sector has a place, one is made up: 64 heads, 32
/// sectors per track, and the cylinders that fit into the device that was asked for.
pub(crate) fn part_geom(extent: Extent, own: Option<Geometry>) -> PartGeom {
    let made_up = PartGeom::made_up(extent.base_bytes, extent.size_bytes);
    match own {
        Some(own) if own.cylinders != 0 && own.heads != 0 && own.sectors != 0 => PartGeom {
            cylinders: own.cylinders,
            heads: own.heads,
            sectors: own.sectors,
            ..made_up
        },
        _ => made_up,
    }
}

/// The extent that a client sets with the same structure. Its geometry is ignored.
pub(crate) fn extent_of(geom: &PartGeom) -> Extent {
    Extent {
        base_bytes: geom.base,
        size_bytes: geom.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent {
        base_bytes: 1 << 20,
        size_bytes: 100 << 20,
    };

    fn geometry(cylinders: u32, heads: u32, sectors: u32) -> Geometry {
        Geometry {
            cylinders,
            heads,
            sectors,
        }
    }

    #[test]
    fn a_geometry_is_made_up_in_megabytes() {
        let geom = part_geom(EXTENT, None);
        assert_eq!((geom.base, geom.bytes), (1 << 20, 100 << 20));
        assert_eq!((geom.cylinders, geom.heads, geom.sectors), (100, 64, 32));
    }

    #[test]
    fn the_geometry_of_the_disk_goes_first() {
        let geom = part_geom(EXTENT, Some(geometry(1024, 255, 63)));
        assert_eq!((geom.base, geom.bytes), (1 << 20, 100 << 20));
        assert_eq!((geom.cylinders, geom.heads, geom.sectors), (1024, 255, 63));
    }

    #[test]
    fn a_geometry_without_room_is_none() {
        for none in [(0, 255, 63), (1024, 0, 63), (1024, 255, 0)] {
            let geom = part_geom(EXTENT, Some(geometry(none.0, none.1, none.2)));
            assert_eq!((geom.cylinders, geom.heads, geom.sectors), (100, 64, 32));
        }
    }

    #[test]
    fn what_was_set_is_told() {
        let told = part_geom(EXTENT, Some(geometry(1, 2, 3)));
        assert_eq!(extent_of(&told), EXTENT);
    }
}
