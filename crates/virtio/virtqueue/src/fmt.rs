//! Log statements that go to `defmt`, to `log`, or nowhere, by feature. `defmt` wins if both are on.

macro_rules! error {
    ($text:literal $(, $arg:expr)* $(,)?) => {{
        #[cfg(feature = "defmt")]
        ::defmt::error!($text $(, $arg)*);
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        ::log::error!($text $(, $arg)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        { $( let _ = &$arg; )* }
    }};
}
