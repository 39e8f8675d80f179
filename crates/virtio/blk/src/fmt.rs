//! Log statements that go to `defmt`, to `log`, or nowhere, by feature. `defmt` wins if both are on.

macro_rules! info {
    ($text:literal $(, $arg:expr)* $(,)?) => {{
        #[cfg(feature = "defmt")]
        ::defmt::info!($text $(, $arg)*);
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        ::log::info!($text $(, $arg)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        { $( let _ = &$arg; )* }
    }};
}
