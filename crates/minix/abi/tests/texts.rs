//! What numbers say of themselves.

use std::fmt::Debug;

use minix_abi::bdev::BdevFlags;
use minix_abi::kerninfo::BadMagic;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, MessageType};

#[test]
fn numbers_are_told_by_name_or_with_their_type() {
    let texts: [(&dyn Debug, &str); 5] = [
        (&Minor(-3), "Minor(-3)"),
        (&MessageType::BDEV_READ, "BDEV_READ"),
        (&MessageType(0x7777), "MessageType(30583)"),
        (&BdevFlags::FORCEWRITE, "BdevFlags(FORCEWRITE)"),
        (&BdevFlags::empty(), "BdevFlags()"),
    ];
    for (value, text) in texts {
        assert_eq!(format!("{value:?}"), text);
    }
}

#[test]
fn messages_for_people_have_the_numbers() {
    assert_eq!(
        BadMagic(0x12).to_string(),
        format!(
            "kernel information has magic 0x12, not {:#x}",
            minix_abi::kerninfo::KernInfo::MAGIC
        )
    );
    assert_eq!(Endpoint(0x8005).to_string(), "32773 (slot 5, generation 1)");
}
