//! Lines of the log, by one function. The macros of `log` put a hundred bytes in place of each call; these put thirty.

use core::fmt;

use log::{Level, Record};

/// Logs a line of `target`, as the macros of `log` do.
#[doc(hidden)]
#[cold]
#[inline(never)]
pub fn log_line(level: Level, target: &'static str, text: fmt::Arguments<'_>) {
    if level <= log::STATIC_MAX_LEVEL && level <= log::max_level() {
        let mut record = Record::builder();
        record.level(level).target(target).module_path_static(Some(target));
        log::logger().log(&record.args(text).build());
    }
}

/// A line of this level. For this crate and the service, which have the same reason.
#[doc(hidden)]
#[macro_export]
macro_rules! log_line {
    ($level:ident, $($text:tt)+) => {
        $crate::log_line(::log::Level::$level, ::core::module_path!(), ::core::format_args!($($text)+))
    };
}
