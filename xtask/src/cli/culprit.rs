//! Which option asks for another one that is missing: clap names the missing one alone.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

/// The same error, with the option that needs what is missing.
pub(super) fn named<C: Parser + CommandFactory>(error: clap::Error, words: &[OsString]) -> clap::Error {
    let Some(missing) = missing(&error) else {
        return error;
    };
    // Each option alone, with its value: it is the one if that has the same fault.
    let options = words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.to_string_lossy().starts_with("--"));
    let culprit = options
        .map(|(place, option)| (option, alone(words, place)))
        .find(|(_, line)| {
            let fault = C::try_parse_from(line).err();
            fault.as_ref().and_then(self::missing).as_ref() == Some(&missing)
        });
    let Some((option, _)) = culprit else {
        return error;
    };
    let option = option.to_string_lossy();
    let option = option.split('=').next().unwrap_or_default();
    C::command().error(
        ErrorKind::MissingRequiredArgument,
        format!("{option} needs {}", missing.join(" and ")),
    )
}

/// The options that are missing.
fn missing(error: &clap::Error) -> Option<Vec<String>> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) => Some(missing.clone()),
        _ => None,
    }
}

/// Program, command, and one option with what follows it up to the next.
fn alone(words: &[OsString], place: usize) -> Vec<OsString> {
    let value = words[place + 1..]
        .iter()
        .take_while(|word| !word.to_string_lossy().starts_with("--"));
    words[..2].iter().chain([&words[place]]).chain(value).cloned().collect()
}
