//! What the device says about itself through requests.

use virtio_blk::Answer;

use super::{Context, TestResult, fail, skip};
use crate::image::report::text;
use crate::image::session::Request;

/// The id string is there and the same each time.
pub(super) fn id_string(context: &mut Context<'_>) -> TestResult {
    let mut ask = || context.session.command(Request::identify(0));
    let (Answer::Id(first), Answer::Id(second)) = (ask()?, ask()?) else {
        fail!("the answer is no id string");
    };
    if first != second {
        fail!("\"{first}\", then \"{second}\"");
    }
    Ok(text!("\"{first}\""))
}

/// The wear estimate, from devices that have one.
pub(super) fn lifetime(context: &mut Context<'_>) -> TestResult {
    if !context.session.disk().limits().lifetime {
        skip!("not offered");
    }
    match context.session.command(Request::lifetime(0))? {
        Answer::Lifetime(lifetime) => Ok(text!(
            "reserved blocks {:?}, wear {:?} and {:?}",
            lifetime.reserved_blocks(),
            lifetime.single_level_wear(),
            lifetime.multi_level_wear()
        )),
        _ => fail!("the answer is no wear estimate"),
    }
}
