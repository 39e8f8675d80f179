//! Maps this crate's one log macro to `defmt`, to `log` or to nothing, by feature. With both features `defmt` wins.

macro_rules! warn {
    ($($arg:tt)*) => {{
        #[cfg(feature = "defmt")]
        ::defmt::warn!($($arg)*);
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        ::log::warn!($($arg)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        let _ = format_args!($($arg)*);
    }};
}
