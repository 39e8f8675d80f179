//! The command line.

use std::ffi::CString;

use minix_rt::Args;

/// The words on a stack as the kernel leaves it: count, pointers, zero, environment, zero.
fn from_stack(words: &[&[u8]]) -> Args {
    let mut stack = vec![words.len() as u64];
    for word in words.iter().chain(&[&b"HOME=/"[..]]) {
        if stack.len() == words.len() + 1 {
            stack.push(0);
        }
        let text = CString::new(*word).expect("no NUL").into_raw();
        stack.push(text.expose_provenance() as u64);
    }
    stack.push(0);
    // SAFETY: that is what is there, and it is leaked.
    unsafe { Args::from_stack(stack.leak().as_ptr()) }
}

#[test]
fn the_words_come_in_order_and_the_environment_does_not() {
    let args = from_stack(&[b"/service/virtio_blk_mmio", b"instance=1", b"log=info"]);
    assert_eq!(args.program(), "/service/virtio_blk_mmio");
    let words: Vec<&str> = args.clone().collect();
    assert_eq!(words, ["instance=1", "log=info"]);
    // Looking does not use them up.
    assert_eq!(args.count(), 2);
}

#[test]
fn there_may_be_no_words() {
    assert_eq!(from_stack(&[b"disk"]).next(), None);
    let mut nothing = from_stack(&[]);
    assert_eq!((nothing.program(), nothing.next()), ("", None));
}

#[test]
fn what_is_no_text_is_a_word_that_nobody_knows() {
    let mut args = from_stack(&[b"disk", &[0xFF, b'='], b"log=off"]);
    assert_eq!(args.next(), Some("\u{FFFD}"));
    assert_eq!(args.next(), Some("log=off"));
    assert_eq!(args.next(), None);
}

#[test]
fn a_list_will_do_as_well() {
    let args = Args::new("disk", &["a", "b"]);
    assert_eq!(args.program(), "disk");
    assert_eq!(args.collect::<Vec<_>>(), ["a", "b"]);
}
