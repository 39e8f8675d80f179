//! A file system made by a tool that this project has no part in, where it is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::walk;

fn tool() -> Option<PathBuf> {
    let places = ["/usr/sbin/mkfs.minix", "/sbin/mkfs.minix", "/usr/bin/mkfs.minix"];
    places.iter().map(PathBuf::from).find(|place| place.exists())
}

#[test]
fn an_empty_file_system_of_another_maker_is_read() {
    let Some(tool) = tool() else {
        println!("skipped: mkfs.minix is not installed");
        return;
    };
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mkfs-minix.img");
    for bytes in [64 << 10, 1 << 20, 64 << 20] {
        fs::write(&path, vec![0; bytes]).unwrap();
        let made = Command::new(&tool)
            .arg("-3")
            .arg(&path)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let seen = walk(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(seen.paths, ["/"]);
    }
    fs::remove_file(&path).unwrap();
}

#[test]
fn an_old_version_is_not_taken_for_this_one() {
    let Some(tool) = tool() else {
        println!("skipped: mkfs.minix is not installed");
        return;
    };
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mkfs-minix-2.img");
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    let made = Command::new(&tool)
        .arg("-2")
        .arg(&path)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    assert!(walk(&fs::read(&path).unwrap()).is_err());
    fs::remove_file(&path).unwrap();
}
