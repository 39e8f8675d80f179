//! What tables and values say of themselves.

use minix_rt::Fixed;
use minix_rt::asynsend::{self, Outbox};
use minix_rt::ds::Label;
use minix_rt::grant::{self, Grants};
use minix_rt::kernel::LentRange;

#[test]
fn tables_tell_how_full_they_are() {
    let outbox = Outbox::new(Box::leak(Box::new(asynsend::Table::<3>::new())));
    assert_eq!(
        format!("{outbox:?}"),
        "Outbox { entries: 3, pending: 0, dropped: 0, failed: 0 }"
    );
    let grants = Grants::new(Box::leak(Box::new(grant::Table::<4>::default())));
    assert_eq!(format!("{grants:?}"), "Grants { entries: 4, used: 0 }");
}

#[test]
fn values_tell_what_they_hold() {
    let fixed = Fixed::new(7);
    assert_eq!(format!("{fixed:?}"), "Fixed { taken: false, .. }");
    assert_eq!(format!("{:?}", Label::new("vfs").unwrap()), "\"vfs\"");
    assert_eq!(format!("{:?}", LentRange::default()), "LentRange(0x0, 0 bytes)");
}
