#!/usr/bin/env bash
# What continuous integration runs: the test command of the README and nothing else. xtask installs what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "commit: $(git rev-parse HEAD 2>/dev/null || echo unknown)"
rustc --version
cargo --version

exec cargo xtask test "$@"
