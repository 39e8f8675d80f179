//! The data store.

use minix_abi::ds::{DsFlags, DsReply, DsRequest};
use minix_abi::grant::GrantFlags;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use minix_rt::ds::{self, Label};
use minix_rt::grant::{Grants, Table};

use fake_minix::Script;
use fake_minix::host::{GrantTable, readable, writable};

const SELF: Endpoint = Endpoint(0x8_0040);

fn grants() -> (Grants<2>, GrantTable) {
    let mut grants = Grants::new(Box::leak(Box::new(Table::new())));
    let mut script = Script::new();
    grants.register(&mut script).expect("the kernel takes it");
    (grants, script.grants.expect("it was told"))
}

/// DS is asked `kind` about `key`, with these flags.
fn asked(table: GrantTable, kind: MessageType, flags: DsFlags, key: String, reply: Result<u32, Errno>) -> Script {
    Script::new().sendrec(Endpoint::DS, move |message| {
        assert_eq!(message.kind, kind);
        let request: DsRequest = message.payload();
        let (entry, granted) = table.lent(request.key).expect("a grant in use");
        assert_eq!(granted.grantee, Endpoint::DS);
        assert!(entry.flags.contains(GrantFlags::READ) && !entry.flags.contains(GrantFlags::WRITE));
        // With the NUL.
        assert_eq!(granted.bytes, key.len() as u64 + 1);
        assert_eq!(request.key_bytes as u64, granted.bytes);
        let mut expected = key.into_bytes();
        expected.push(0);
        assert_eq!(readable(granted.start, granted.bytes), expected);
        assert_eq!(request.flags, flags);
        assert_eq!(request.value, if kind == MessageType::DS_PUBLISH { 7 } else { 0 });
        *message = match reply {
            Ok(value) => {
                let value_bytes = 0;
                Message::with_payload(MessageType(0), &DsReply { value, value_bytes })
            }
            Err(errno) => Message::reply(errno.into()),
        };
    })
}

#[test]
fn a_number_is_published_under_keys_of_every_length() {
    let (mut grants, table) = grants();
    for length in [1, 2, 23, 79] {
        let key = "k".repeat(length);
        let mut script = asked(
            table,
            MessageType::DS_PUBLISH,
            DsFlags::U32 | DsFlags::OVERWRITE,
            key.clone(),
            Ok(0),
        );
        assert_eq!(ds::publish_u32(&mut script, &mut grants, &key, 7), Ok(()));
        script.over();
    }
    for length in [0, 80, 4000] {
        let key = "k".repeat(length);
        let refused = ds::publish_u32(&mut Script::new(), &mut grants, &key, 7);
        assert_eq!(refused, Err(Errno::EINVAL), "{length}");
    }
}

#[test]
fn a_label_is_found() {
    let (mut grants, table) = grants();
    let ask = |reply| asked(table, MessageType::DS_RETRIEVE, DsFlags::LABEL, "disk".into(), reply);
    let mut script = ask(Ok(SELF.0 as u32));
    assert_eq!(ds::find_label(&mut script, &mut grants, "disk"), Ok(SELF));
    script.over();
    let mut script = ask(Err(Errno::ESRCH));
    assert_eq!(ds::find_label(&mut script, &mut grants, "disk"), Err(Errno::ESRCH));
    script.over();
}

#[test]
fn a_number_that_must_be_new_replaces_none() {
    let (mut grants, table) = grants();
    for reply in [Ok(()), Err(Errno::EEXIST)] {
        let mut script = asked(
            table,
            MessageType::DS_PUBLISH,
            DsFlags::U32,
            "disk".into(),
            reply.map(|()| 0),
        );
        assert_eq!(ds::publish_new_u32(&mut script, &mut grants, "disk", 7), reply);
        script.over();
    }
}

#[test]
fn a_published_number_is_read() {
    let (mut grants, table) = grants();
    for reply in [Ok(7), Err(Errno::ESRCH)] {
        let mut script = asked(table, MessageType::DS_RETRIEVE, DsFlags::U32, "disk".into(), reply);
        assert_eq!(ds::retrieve_u32(&mut script, &mut grants, "disk"), reply);
        script.over();
    }
}

/// DS fills in a label of those bytes.
fn labelled(table: GrantTable, text: Vec<u8>) -> Script {
    Script::new().sendrec(Endpoint::DS, move |message| {
        assert_eq!(message.kind, MessageType::DS_RETRIEVE_LABEL);
        let request: DsRequest = message.payload();
        assert_eq!((request.value, request.key_bytes), (SELF.0 as u32, 80));
        let (entry, granted) = table.lent(request.key).expect("a grant in use");
        assert_eq!(granted.grantee, Endpoint::DS);
        assert!(entry.flags.contains(GrantFlags::WRITE) && !entry.flags.contains(GrantFlags::READ));
        assert_eq!(granted.bytes, 80);
        writable(granted.start, granted.bytes)[..text.len()].copy_from_slice(&text);
        *message = Message::reply(Status::OK);
    })
}

#[test]
fn the_own_label_is_read_up_to_its_nul() {
    let (mut grants, table) = grants();
    let mut script = labelled(table, b"virtio_blk_mmio\0rubbish".to_vec());
    let label = ds::own_label(&mut script, &mut grants, SELF).expect("it has one");
    assert_eq!(label.as_str(), "virtio_blk_mmio");
    assert_eq!(Some(label), Label::new("virtio_blk_mmio"));
    assert_eq!(format!("{label:>16}"), " virtio_blk_mmio");
    script.over();
    // The grant is gone with the call.
    assert!(
        table
            .entry(minix_abi::GrantId(0))
            .expect("in the table")
            .flags
            .is_empty()
    );
}

#[test]
fn a_label_that_is_no_text_is_refused() {
    let (mut grants, table) = grants();
    for text in [vec![0], vec![b'x'; 80], vec![0xFF, 0]] {
        let mut script = labelled(table, text);
        assert_eq!(ds::own_label(&mut script, &mut grants, SELF), Err(Errno::EBADMSG));
        script.over();
    }
    assert_eq!(Label::new(""), None);
    assert_eq!(Label::new("a\0b"), None);
    assert_eq!(Label::new(&"l".repeat(80)), None);
    assert_eq!(Label::new(&"l".repeat(79)).map(|label| label.as_str().len()), Some(79));
}

#[test]
fn without_a_grant_nothing_is_asked() {
    let (mut grants, _) = grants();
    for address in [0x1000, 0x2000] {
        // SAFETY: no process uses the grant.
        unsafe { grants.direct(SELF, address, 1, GrantFlags::READ) }.expect("room");
    }
    let mut script = Script::new();
    assert_eq!(ds::find_label(&mut script, &mut grants, "disk"), Err(Errno::ENOSPC));
    assert_eq!(ds::own_label(&mut script, &mut grants, SELF), Err(Errno::ENOSPC));
}
