#!/usr/bin/env bash
# What continuous integration runs: the test command of the README, with nothing left out. xtask installs what is missing, but not the
# nightly toolchain: without it this fails and says how to install it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "commit: $(git rev-parse HEAD 2>/dev/null || echo unknown)"
rustc --version
cargo --version

# What is built once needs no room for being built again.
export CARGO_INCREMENTAL=0

command -v cargo-deny >/dev/null || cargo install --quiet --locked cargo-deny --version 0.20.2

exec cargo xtask test --complete "$@"
