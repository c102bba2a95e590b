#!/bin/bash
# rpm.sh BINARIES OUT packs the binaries from the directory BINARIES into RPMs in the directory OUT, which it empties first.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
built=$(readlink -f "$1") out=$(readlink -m "$2")
rm -rf "$out"
mkdir -p "$out"
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml" | head -1)
rpmbuild --quiet -bb --define "_topdir $top" --define "_rpmdir $out" --define "source $here/.." --define "built $built" \
    --define "version_of_workspace $version" "$here/livemode.spec"
find "$out" -name '*.rpm'
