//! Lines for the console.

use minix_rt::console::Line;

/// What leaves when these texts are written one after the other, and then what is left.
fn written(texts: &[&str]) -> (Vec<String>, String) {
    let mut line = Line::new();
    let mut out = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
    for part in texts {
        line.write(part.as_bytes(), &mut |bytes| out.push(text(bytes)));
    }
    let mut rest = String::new();
    line.flush(&mut |bytes| rest = text(bytes));
    assert!(line.is_empty());
    (out, rest)
}

#[test]
fn a_line_leaves_in_one_piece() {
    let (out, rest) = written(&["capacity ", "64", " MiB", "\n", "next"]);
    assert_eq!(out, ["capacity 64 MiB\n"]);
    assert_eq!(rest, "next");
}

#[test]
fn every_line_leaves_on_its_own() {
    let (out, rest) = written(&["one\ntwo\n\nfo", "ur\n"]);
    assert_eq!(out, ["one\n", "two\n", "\n", "four\n"]);
    assert_eq!(rest, "");
}

#[test]
fn a_line_that_is_too_long_leaves_in_parts() {
    for length in [1998, 1999, 2000, 2001, 3998, 5000] {
        let text = "x".repeat(length) + "\n";
        let (out, rest) = written(&[&text]);
        assert!(out.iter().all(|part| part.len() <= 1999));
        assert_eq!(out.concat(), text);
        assert_eq!(out.len(), (length + 1).div_ceil(1999), "{length}");
        assert_eq!(rest, "");
    }
}

#[test]
fn a_long_line_may_come_in_small_pieces() {
    let pieces = vec!["x"; 4000];
    let (out, rest) = written(&pieces);
    let lengths: Vec<usize> = out.iter().map(String::len).collect();
    assert_eq!((lengths.as_slice(), rest.len()), ([1999, 1999].as_slice(), 2));
}

#[test]
fn nothing_is_printed_for_nothing() {
    assert_eq!(written(&["", ""]), (Vec::new(), String::new()));
}
