//! What the service says when it does not start.

use std::fmt::Display;

use minix_abi::{Endpoint, Errno};
use minix_rt::ds::Label;
use minix_virtio_blk::args::{ArgsError, Reason};
use minix_virtio_blk::registration::ClaimError;
use minix_virtio_blk::windows::FindError;

#[test]
fn each_reason_is_told_in_words() {
    let taken = ClaimError::Taken {
        label: Label::new("virtio_blk").unwrap(),
        endpoint: Endpoint(77),
    };
    let refused = ClaimError::from(Errno::EIO);
    let argument = |reason| ArgsError {
        word: "queue=3",
        reason,
    };
    let no_disk = |instance, disks| FindError::NoSuchInstance { instance, disks };
    let texts: [(&dyn Display, String); 7] = [
        (&taken, "it is served by virtio_blk, endpoint 77".to_owned()),
        (
            &refused,
            format!("the data store does not say whose it is: {}", Errno::EIO),
        ),
        (
            &argument(Reason::Repeated),
            "argument 'queue=3': given twice".to_owned(),
        ),
        (
            &argument(Reason::BadValue { expected: "a size" }),
            "argument 'queue=3': expected a size".to_owned(),
        ),
        (&no_disk(0, 0), "no block device".to_owned()),
        (
            &no_disk(2, 1),
            "no block device number 2, counted from 0: 1 found".to_owned(),
        ),
        (
            &FindError::Refused(Errno::EPERM),
            format!("no access to the device windows: {}", Errno::EPERM),
        ),
    ];
    for (reason, text) in texts {
        assert_eq!(reason.to_string(), text);
    }
    assert_eq!((taken.errno(), refused.errno()), (Errno::EBUSY, Errno::EIO));
    assert_eq!(no_disk(0, 0).errno(), Errno::ENODEV);
}
