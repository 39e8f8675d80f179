#!/usr/bin/env bash
# Installs QEMU for 64-bit RISC-V, OpenSBI and qemu-img on Debian, Ubuntu and their relatives. `cargo xtask` runs this when
# one of them is missing and it is root. Run it again after a failure: it goes on where the last run stopped.
# With the word `compiler` it installs a C compiler for that processor instead, which the check of the C API needs.
set -euo pipefail
shopt -s nullglob
etc=${SETUP_ETC:-/etc} # The tests have one of their own.

fail() {
    echo "ci/setup.sh: $*" >&2
    exit 1
}

# The first entry of apt's sources for suite $1, in the one-line form or as a stanza, rewritten for suite $2.
entry() {
    awk -v from="$1" -v to="$2" '
        $1 == "deb" && / main( |$)/ {
            match($0, /^deb[ \t]+(\[[^]]*\][ \t]+)?[^ \t]+[ \t]+/)
            split(substr($0, RLENGTH + 1), words)
            if (words[1] == from) { print substr($0, 1, RLENGTH) to " main"; found = 1; exit }
        }
        END { exit !found }' /dev/null "$etc"/apt/sources.lis[t] "$etc"/apt/sources.list.d/*.list ||
    awk -v RS= -v from="$1" -v to="$2" '
        !/(^|\n)Enabled: *no/ && /(^|\n)Types:[^\n]* deb( |\n|$)/ && /(^|\n)Components:[^\n]* main( |\n|$)/ &&
        $0 ~ "(^|\n)Suites:[^\n]* " from "( |\n|$)" { sub(/(^|\n)Suites:[^\n]*/, "\nSuites: " to); print; exit }
        ' /dev/null "$etc"/apt/sources.list.d/*.sources
}

command -v apt-get >/dev/null || fail "there is no apt-get: install QEMU 7.0 or newer for riscv64, OpenSBI and qemu-img by hand"
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "only root can install packages, and there is no sudo"
    sudo=sudo
fi
# Another apt may be at work, as on a machine that has just been started.
apt() { $sudo env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -o DPkg::Lock::Timeout=120 "$@"; }

$sudo dpkg --configure -a || true # What an interrupted installation left.

if [ "${1:-}" = compiler ]; then
    apt update || true
    apt install --yes --no-install-recommends gcc-riscv64-linux-gnu && exit 0
    fail "apt cannot install gcc-riscv64-linux-gnu, see above"
fi

# The parts of QEMU come from one release. Beside a qemu-utils from the backports suite only that suite's emulator fits.
suite=
added=
utils=$(dpkg-query -W -f '${db:Status-Status} ${Version}' qemu-utils 2>/dev/null || true)
if [[ $utils == *"~bpo"* && $utils != config-files* ]]; then
    # shellcheck source=/dev/null
    release=$(. "$etc/os-release" && echo "$VERSION_CODENAME")
    suite=$release-backports
    if [ -z "$(entry "$suite" "$suite")" ]; then
        text=$(entry "$release" "$suite")
        [ -n "$text" ] || fail "qemu-utils is a backport: add the suite $suite to the sources of apt and try again"
        added=$etc/apt/sources.list.d/$suite.$([[ $text == "deb "* ]] && echo list || echo sources)
        echo "$text" | $sudo tee "$added"
    fi
fi

apt update || true # The archive that fails may be one that is not needed.
for emulator in qemu-system-riscv qemu-system-misc; do
    arguments=(install --yes --no-install-recommends --fix-broken ${suite:+-t "$suite"} "$emulator" opensbi qemu-utils)
    # Older releases have RISC-V in the second package. apt knows which of the two fits.
    if apt "${arguments[@]}" --simulate >/dev/null 2>&1; then
        apt "${arguments[@]}" && exit 0
        break
    fi
done
[ -z "$added" ] || $sudo rm -f "$added"
fail "apt cannot install QEMU, see above: is the network there, or does another apt run?"
