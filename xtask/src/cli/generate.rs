//! The options of `cargo xtask generate`.

use clap::{Args, ValueEnum};

#[derive(Args, Clone, Debug)]
pub(crate) struct GenerateArgs {
    /// Which texts; without one, all.
    pub(crate) kinds: Vec<Kind>,
}

/// A kind of text that is made from the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The public API of each published crate: public-api.txt beside its manifest.
    Api,
    /// For C, the block protocol and the driver: the headers of `virtio-blk-proto` and `virtio-blk-capi`.
    Header,
    /// The sizes by feature in the README of `virtio-blk`.
    Sizes,
}

impl Kind {
    /// The command that writes texts of this kind.
    pub(crate) fn command(self) -> String {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned());
        format!("cargo xtask generate {}", name.unwrap_or_default())
    }
}
