//! Files that a mistyped option names are left alone.

use std::path::Path;
use std::process::Command;

fn refused(image: &Path, socket: &Path, report: &Path, part: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_vhost-user-disk"))
        .args(["--image".as_ref(), image, "--socket".as_ref(), socket])
        .args(["--report".as_ref(), report])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.starts_with("error: ") && text.contains(part), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(std::fs::read(image).unwrap(), [0x5A; 512]);
}

#[test]
fn the_image_is_neither_socket_nor_report() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let image = directory.join("command-line.raw");
    std::fs::write(&image, [0x5A; 512]).unwrap();
    refused(&image, &image, &directory.join("report"), "is there and is no socket");
    refused(&image, &directory.join("command-line.sock"), &image, "is the image");
}
