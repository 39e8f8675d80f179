//! `embedded-storage-async`, used by generic code that knows only the trait.

mod common;

use common::{block_on, finish, pattern, rig, small};
use embedded_storage_async::{ReadStorage, Storage};
use virtio_blk::SubmitError;
use virtio_blk_async::{ByteRange, Error};
use virtio_blk_model::feature;

/// Moves bytes to a lower place.
async fn move_down<S: Storage>(storage: &mut S, from: u32, to: u32, len: usize) -> Result<(), S::Error> {
    let mut piece = [0; 100];
    let mut moved = 0;
    while moved < len {
        let count = piece.len().min(len - moved);
        storage.read(from + moved as u32, &mut piece[..count]).await?;
        storage.write(to + moved as u32, &piece[..count]).await?;
        moved += count;
    }
    Ok(())
}

#[test]
fn bytes_are_moved_through_the_trait() {
    let (model, disk) = rig(small());
    let content = pattern(3, 2048);
    model.write_disk(4, &content);
    let mut range = ByteRange::whole(&disk).part(1024..8192).expect("a part of it");
    assert_eq!(range.capacity(), 7168);
    block_on(&model, &disk, move_down(&mut range, 1100, 333, 777)).unwrap();
    assert_eq!(model.read_disk(2, 4)[333..333 + 777], content[76..76 + 777]);
    finish(&model, disk);
}

#[test]
fn what_ends_after_the_capacity_is_refused() {
    let (model, disk) = rig(small().offer(feature::RO));
    let mut range = ByteRange::whole(&disk).part(512..1536).expect("a part of it");
    let beyond = Err(Error::OutOfRange { end: 1024 });
    block_on(&model, &disk, async {
        assert_eq!(ReadStorage::read(&mut range, 1024, &mut [0]).await, beyond);
        assert_eq!(Storage::write(&mut range, u32::MAX, &[1; 2]).await, beyond);
        let refused = Err(Error::Refused(SubmitError::ReadOnly));
        assert_eq!(Storage::write(&mut range, 0, &[1; 2]).await, refused);
    });
    finish(&model, disk);
}
