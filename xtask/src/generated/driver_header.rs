//! `virtio_blk_driver.h`: the driver for C, made from `virtio-blk-capi`.

use anyhow::Result;

use super::{Generated, c_header};
use crate::workspace::Workspace;

/// The crate that it is made from, and its files with something for C.
const CRATE: &str = "virtio-blk-capi";
const SOURCES: [&str; 3] = ["disk.rs", "outcome.rs", "platform.rs"];

/// Where it is in the crate.
const FILE: &str = "include/virtio_blk_driver.h";

/// What the types of the crate are called in C.
const NAMES: [(&str, &str); 5] = [
    ("Completed", "virtio_blk_completed"),
    ("Memory", "virtio_blk_memory"),
    ("Outcome", "virtio_blk_outcome"),
    ("Registers", "virtio_blk_registers"),
    ("VirtioBlkDisk", "virtio_blk_disk"),
];

const START: &str = "/* A VirtIO block driver for kernels in C, made from the crate virtio-blk-capi by `cargo xtask generate header`. */";

/// Makes the header.
pub(crate) fn generate(workspace: &Workspace) -> Result<Generated> {
    c_header::generate(workspace, CRATE, &SOURCES, FILE, config())
}

fn config() -> cbindgen::Config {
    cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Tag,
        cpp_compat: true,
        usize_is_size_t: true,
        documentation_style: cbindgen::DocumentationStyle::C99,
        header: Some(START.to_owned()),
        include_guard: Some("VIRTIO_BLK_DRIVER_H".to_owned()),
        no_includes: true,
        sys_includes: ["stddef.h", "stdint.h"].map(str::to_owned).into(),
        enumeration: cbindgen::EnumConfig {
            rename_variants: cbindgen::RenameRule::QualifiedScreamingSnakeCase,
            ..cbindgen::EnumConfig::default()
        },
        export: cbindgen::ExportConfig {
            rename: NAMES
                .map(|(from, to)| (from.to_owned(), to.to_owned()))
                .into_iter()
                .collect(),
            ..cbindgen::ExportConfig::default()
        },
        ..cbindgen::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_and_type_has_its_name_in_c() {
        let text = generate(&Workspace::load().unwrap()).unwrap().text;
        for part in [
            "struct virtio_blk_disk;",
            "enum virtio_blk_outcome virtio_blk_start(struct virtio_blk_disk **disk,",
            "VIRTIO_BLK_OUTCOME_QUEUE_FULL = 5,",
            "typedef void (*virtio_blk_completed)(",
            "void virtio_blk_notify(struct virtio_blk_disk *disk);",
            "size_t virtio_blk_disk_bytes(void);",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
