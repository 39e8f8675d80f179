//! JSON for programs: one object a line.

use minix_abi::Errno;
use serde::Serialize;

use crate::calls::Calls;
use crate::failure::Failure;
use crate::output::print;

/// Bytes of the longest object, with room: the statistics with the largest numbers everywhere.
const OBJECT_BYTES: usize = 12 << 10;

/// Prints an object and the end of the line.
pub(crate) fn print_object<C: Calls>(calls: &mut C, object: &impl Serialize) -> Result<(), Failure> {
    let mut bytes = [0; OBJECT_BYTES];
    let length = serde_json_core::to_slice(object, &mut bytes).map_err(|_| Failure::Output(Errno::ENOMEM))?;
    let text = bytes.get(..length).and_then(|text| core::str::from_utf8(text).ok());
    let text = text.ok_or(Failure::Output(Errno::EIO))?;
    print(calls, format_args!("{text}\n"))
}
