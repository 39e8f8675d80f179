//! `virtio_blk.h`: feature bits, configuration space, requests and statuses for C, made from `virtio-blk-proto`.
//!
//! `cbindgen` reads the sources. Feature bits, and the offset of each field as an assertion, are written here from the crate itself, so
//! that a compiler of C finds out if a structure of the header is not the one of the driver.

use std::fmt::Write;
use std::mem::{offset_of, size_of};

use anyhow::Result;
use virtio_blk_proto::zoned::{AppendTail, ZoneDescriptor, ZoneReportHeader, ZoneState, ZoneType, ZonedModel};
use virtio_blk_proto::{BlkFeatures, ConfigSpace, Lifetime, RangeFlags, RangeSegment, RequestHeader};

use super::{Generated, c_header};
use crate::workspace::Workspace;

/// The crate that it is made from, and its files with something for C.
const CRATE: &str = "virtio-blk-proto";
const SOURCES: [&str; 7] = [
    "config.rs",
    "identity.rs",
    "request.rs",
    "status.rs",
    "zoned/append.rs",
    "zoned/report.rs",
    "zoned/zone.rs",
];

/// Where it is in the crate.
const FILE: &str = "include/virtio_blk.h";

/// What the types of the crate are called in C. The names are not those of Linux, so that both headers can be included; the
/// names of numbers and their values are.
const NAMES: [(&str, &str); 13] = [
    ("U16", "virtio_le16"),
    ("U32", "virtio_le32"),
    ("U64", "virtio_le64"),
    ("ConfigSpace", "virtio_blk_config_space"),
    ("RequestHeader", "virtio_blk_request_header"),
    ("RangeSegment", "virtio_blk_range"),
    ("Lifetime", "virtio_blk_lifetime_answer"),
    ("AppendTail", "virtio_blk_append_tail"),
    ("ZoneDescriptor", "virtio_blk_zone"),
    ("ZoneReportHeader", "virtio_blk_zone_report_header"),
    ("RequestType", "VIRTIO_BLK_T"),
    ("Status", "VIRTIO_BLK_S"),
    ("WRITEBACK_OFFSET", "VIRTIO_BLK_WRITEBACK_OFFSET"),
];

const START: &str = "/* The VirtIO block protocol (VirtIO 1.4), made from the crate virtio-blk-proto by `cargo xtask generate header`. */";

/// After the includes. The fields of legacy devices have the byte order of the machine, which is the same on all that have such devices.
const INTEGERS: &str = "\
/* Little-endian in memory, on any machine. */
typedef uint16_t virtio_le16;
typedef uint32_t virtio_le32;
typedef uint64_t virtio_le64;

#ifndef __cplusplus
#define VIRTIO_BLK_ASSERT _Static_assert
#else
#define VIRTIO_BLK_ASSERT static_assert
#endif
";

/// Makes the header.
pub(crate) fn generate(workspace: &Workspace) -> Result<Generated> {
    c_header::generate(workspace, CRATE, &SOURCES, FILE, config())
}

fn config() -> cbindgen::Config {
    let renamed = NAMES.map(|(from, to)| (from.to_owned(), to.to_owned()));
    let structures = NAMES.iter().skip(3).map(|(name, _)| (*name).to_owned());
    cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Tag,
        cpp_compat: true,
        documentation_style: cbindgen::DocumentationStyle::C99,
        header: Some(START.to_owned()),
        include_guard: Some("VIRTIO_BLK_PROTO_H".to_owned()),
        no_includes: true,
        sys_includes: ["stddef.h", "stdint.h"].map(str::to_owned).into(),
        after_includes: Some(format!("{INTEGERS}\n{}", numbers())),
        trailer: Some(assertions()),
        export: cbindgen::ExportConfig {
            include: structures.collect(),
            rename: renamed.into_iter().collect(),
            ..cbindgen::ExportConfig::default()
        },
        ..cbindgen::Config::default()
    }
}

/// Numbers that are values of a type in Rust: feature bits, flags, and what stands in fields of zoned devices.
fn numbers() -> String {
    let mut text = "// Feature bits.\n".to_owned();
    for (name, flag) in BlkFeatures::all().iter_names() {
        define(&mut text, &format!("F_{name}"), flag.bits().trailing_zeros());
    }
    text += "\n// Flags of a range.\n";
    define(
        &mut text,
        "WRITE_ZEROES_FLAG_UNMAP",
        format!("{:#010x}", RangeFlags::UNMAP.bits()),
    );
    text += "\n// Bytes of an identification string.\n";
    define(&mut text, "ID_BYTES", virtio_blk_proto::DeviceIdString::BYTES);
    text += "\n// `zoned_model` of the configuration space.\n";
    for (name, model) in [
        ("NONE", ZonedModel::None),
        ("HM", ZonedModel::HostManaged),
        ("HA", ZonedModel::HostAware),
    ] {
        define(&mut text, &format!("Z_{name}"), u8::from(model));
    }
    text += "\n// `z_type` of a zone.\n";
    for (name, kind) in [
        ("CONV", ZoneType::Conventional),
        ("SWR", ZoneType::SequentialWriteRequired),
        ("SWP", ZoneType::SequentialWritePreferred),
    ] {
        define(&mut text, &format!("ZT_{name}"), u8::from(kind));
    }
    text += "\n// `z_state` of a zone.\n";
    for (name, state) in [
        ("NOT_WP", ZoneState::NoWritePointer),
        ("EMPTY", ZoneState::Empty),
        ("IOPEN", ZoneState::ImplicitlyOpen),
        ("EOPEN", ZoneState::ExplicitlyOpen),
        ("CLOSED", ZoneState::Closed),
        ("RDONLY", ZoneState::ReadOnly),
        ("FULL", ZoneState::Full),
        ("OFFLINE", ZoneState::Offline),
    ] {
        define(&mut text, &format!("ZS_{name}"), u8::from(state));
    }
    text
}

fn define(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "#define VIRTIO_BLK_{name} {value}");
}

/// An assertion for each field of a structure, and one for its size.
macro_rules! layout {
    ($text:ident, $type:ident, $($field:ident)+) => {
        let name = NAMES.iter().find(|(name, _)| *name == stringify!($type)).map_or("", |(_, name)| name);
        $(assert_offset(&mut $text, name, stringify!($field), offset_of!($type, $field));)+
        assert_size(&mut $text, name, size_of::<$type>());
    };
}

/// In C the end of an append is followed by bytes that are not there for the device.
fn assert_size(text: &mut String, name: &str, size: usize) {
    let relation = if size.is_multiple_of(2) { "==" } else { ">=" };
    let _ = writeln!(
        text,
        "VIRTIO_BLK_ASSERT(sizeof(struct {name}) {relation} {size}, \"size of {name}\");\n"
    );
}

fn assert_offset(text: &mut String, name: &str, field: &str, offset: usize) {
    let _ = writeln!(
        text,
        "VIRTIO_BLK_ASSERT(offsetof(struct {name}, {field}) == {offset}, \"{field} of {name}\");"
    );
}

fn assertions() -> String {
    let mut text = "\n// Where each field is.\n".to_owned();
    layout!(text, ConfigSpace,
        capacity size_max seg_max cylinders heads sectors blk_size physical_block_exp alignment_offset min_io_size
        opt_io_size writeback unused0 num_queues max_discard_sectors max_discard_seg discard_sector_alignment
        max_write_zeroes_sectors max_write_zeroes_seg write_zeroes_may_unmap unused1 max_secure_erase_sectors
        max_secure_erase_seg secure_erase_sector_alignment zone_sectors max_open_zones max_active_zones
        max_append_sectors write_granularity zoned_model unused2);
    layout!(text, RequestHeader, kind reserved sector);
    layout!(text, RangeSegment, sector sectors flags);
    layout!(text, Lifetime, pre_eol_info type_a type_b);
    layout!(text, AppendTail, append_sector status);
    layout!(text, ZoneDescriptor, z_cap z_start z_wp z_type z_state reserved);
    layout!(text, ZoneReportHeader, nr_zones reserved);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_an_assertion() {
        let text = generate(&Workspace::load().unwrap()).unwrap().text;
        let mut structure = None;
        let mut fields = 0;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("struct ").and_then(|line| line.strip_suffix(" {")) {
                structure = Some(name);
            } else if line == "};" {
                structure = None;
            } else if let Some(name) = structure.filter(|_| line.ends_with(';')) {
                let (_, field) = line.trim_end_matches(';').rsplit_once(' ').unwrap();
                let (field, _) = field.split_once('[').unwrap_or((field, ""));
                assert!(
                    text.contains(&format!("(offsetof(struct {name}, {field}) == ")),
                    "{field} of {name}"
                );
                fields += 1;
            }
        }
        assert_eq!(fields, 31 + 3 + 3 + 3 + 2 + 6 + 2);
    }

    #[test]
    fn numbers_are_those_of_the_driver() {
        let text = numbers();
        for line in [
            "F_BARRIER 0",
            "F_ZONED 17",
            "WRITE_ZEROES_FLAG_UNMAP 0x00000001",
            "ID_BYTES 20",
            "Z_HM 1",
            "ZS_RDONLY 13",
        ] {
            assert!(text.contains(&format!("#define VIRTIO_BLK_{line}\n")), "{line}");
        }
    }
}
