//! `embedded-io-async`, used by the buffers of `buffered-io`.

mod common;

use buffered_io::asynch::{BufferedRead, BufferedWrite};
use common::{Task, block_on, finish, pattern, rig, serve, small};
use embedded_io_async::{Error as _, ErrorKind, Read, Seek, SeekFrom, Write};
use virtio_blk::SubmitError;
use virtio_blk_async::{ByteCursor, ByteRange, Error, StreamError};
use virtio_blk_model::feature;

#[test]
fn records_are_written_and_read_through_buffers() {
    let (model, disk) = rig(small());
    let records: Vec<Vec<u8>> = (0..20).map(|number| pattern(number, 30 + number as usize)).collect();
    let range = || ByteRange::whole(&disk).part(1000..20_000).expect("a part of it");
    block_on(&model, &disk, async {
        let mut buffer = [0; 700];
        let mut sink = BufferedWrite::new(ByteCursor::new(range()), &mut buffer);
        for record in &records {
            sink.write_all(record).await.unwrap();
        }
        sink.flush().await.unwrap();
    });
    // Two full buffers at most, a flush, and blocks that are read first.
    let requests = model.counters().chains;
    assert!(requests <= 10, "{requests}");
    let all = records.concat();
    assert!(model.read_disk(0, 4)[1000..][..all.len()] == all);
    block_on(&model, &disk, async {
        let mut buffer = [0; 700];
        let mut source = BufferedRead::new(ByteCursor::new(range()), &mut buffer);
        for record in &records {
            let mut read = vec![0; record.len()];
            source.read_exact(&mut read).await.unwrap();
            assert_eq!(read, *record);
        }
    });
    finish(&model, disk);
}

#[test]
fn a_stream_ends_where_its_range_ends() {
    let (model, disk) = rig(small());
    let range = ByteRange::whole(&disk).part(100..1000).expect("a part of it");
    let mut cursor = ByteCursor::new(range);
    block_on(&model, &disk, async {
        cursor.seek(SeekFrom::End(-3)).await.unwrap();
        assert_eq!(cursor.write(b"12345").await, Ok(3));
        let at_end = StreamError::AtEnd {
            position: 900,
            len: 900,
        };
        assert_eq!(cursor.write(b"45").await, Err(at_end));
        assert_eq!(cursor.write(b"").await, Ok(0));
        assert_eq!(cursor.read(&mut [0; 2]).await, Ok(0));
        assert_eq!(
            cursor.seek(SeekFrom::Current(-901)).await,
            Err(StreamError::BadPosition)
        );
        assert_eq!(cursor.seek(SeekFrom::Start(u64::MAX)).await, Ok(u64::MAX));
        assert_eq!(cursor.read(&mut []).await, Ok(0));
    });
    assert_eq!(model.read_disk(1, 1)[485..490], *b"123\0\0");
    finish(&model, disk);
}

#[test]
fn an_error_or_a_drop_leaves_the_position() {
    let (model, disk) = rig(small());
    let mut cursor = ByteCursor::new(ByteRange::whole(&disk));
    block_on(&model, &disk, cursor.seek(SeekFrom::Start(50))).unwrap();
    let mut memory = [0; 600];
    let mut read = Task::new(cursor.read(&mut memory));
    assert!(!read.poll());
    drop(read);
    assert_eq!(cursor.position(), 50);
    serve(&model, &disk, usize::MAX);
    finish(&model, disk);

    let (model, disk) = rig(small().offer(feature::RO));
    let mut cursor = ByteCursor::new(ByteRange::whole(&disk));
    block_on(&model, &disk, async {
        cursor.seek(SeekFrom::Start(50)).await.unwrap();
        let refused = StreamError::Disk(Error::Refused(SubmitError::ReadOnly));
        assert_eq!(cursor.write(b"no").await, Err(refused));
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    });
    assert_eq!(cursor.position(), 50);
    finish(&model, disk);
}
