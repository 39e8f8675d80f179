//! What errors and values say of themselves.

use std::fmt::Display;

use virtio_fdt::{Block, Defect, DeviceTree, FdtError, NodeError};

#[test]
fn errors_of_a_blob_say_what_is_wrong() {
    let corrupt = |block, defect| FdtError::Corrupt {
        block,
        offset_bytes: 0x40,
        defect,
    };
    let texts: [(&dyn Display, &str); 16] = [
        (
            &FdtError::Truncated {
                have_bytes: 3,
                need_bytes: 40,
            },
            "device tree is cut off: 3 bytes given, 40 needed",
        ),
        (&FdtError::NotADeviceTree, "no device tree: the magic number is missing"),
        (
            &FdtError::UnsupportedVersion(3),
            "device tree version 3 is not supported",
        ),
        (&FdtError::TooDeep, "device tree is nested too deeply"),
        (
            &corrupt(Block::Header, Defect::TooSmall),
            "device tree is corrupt: header at offset 0x40: too small for a header",
        ),
        (&Block::Reservations, "memory reservations"),
        (&Block::Structure, "structure"),
        (&Block::Strings, "strings"),
        (&Defect::Outside, "reaches outside"),
        (&Defect::Misaligned, "misaligned"),
        (&Defect::Overlap, "overlaps another block"),
        (&Defect::Unterminated, "not terminated"),
        (&Defect::MisplacedToken(2), "token 2 in the wrong place"),
        (&Defect::UnknownToken(17), "unknown token 0x11"),
        (&Defect::BadName, "bad name"),
        (&Defect::TooSmall, "too small for a header"),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn errors_of_a_node_name_what_is_missing() {
    for (error, text) in [
        (NodeError::MissingNode("cpus"), "node `cpus` is missing"),
        (NodeError::MissingProperty("reg"), "property `reg` is missing"),
        (NodeError::BadLength("reg"), "property `reg` has a wrong length"),
        (
            NodeError::BadString("compatible"),
            "property `compatible` is not a string",
        ),
        (
            NodeError::BadValue("phandle"),
            "property `phandle` has an impossible value",
        ),
        (NodeError::AddressTooWide, "address or size does not fit into 64 bits"),
        (NodeError::NotMapped, "address is not mapped to the root of the tree"),
        (NodeError::NoInterruptParent, "no interrupt parent"),
        (
            NodeError::InterruptNotMapped,
            "interrupt has no row in an `interrupt-map`",
        ),
        (NodeError::InterruptLoop, "interrupt maps lead in a circle"),
        (NodeError::UnknownPhandle(0x12), "no node has the phandle 0x12"),
        (NodeError::TooMany, "more nodes than there is room for"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_tree_and_its_nodes_can_be_printed() {
    let blob = include_bytes!("data/qemu-virt.dtb");
    let tree = DeviceTree::parse(blob).unwrap();
    assert_eq!(tree.address(), blob.as_ptr().addr());
    let text = format!("{tree:?}");
    assert!(text.starts_with("DeviceTree { size_bytes: "), "{text}");
    let walk = format!("{:?}", tree.aplics());
    assert!(walk.starts_with("Nodes { walk: Walk { depth: "), "{walk}");
}
