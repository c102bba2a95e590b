#!/bin/bash
# rpm.sh BINARIES OUT packs the binaries from the directory BINARIES into RPMs in the directory OUT, which it empties first.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
built=$(readlink -f "$1") out=$(readlink -m "$2")
rm -rf "$out"
mkdir -p "$out"
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
# The changelog of a package has a date, an author and a version: the first part of ours, which is not released, as one entry.
changelog() {
    local date
    date=$(git -C "$here" log -1 --format=%cd --date=format:'%a %b %d %Y' -- ../CHANGELOG.md 2>/dev/null || true)
    printf '\n%%%%changelog\n* %s LiveMode <livemode@localhost> - %s-1\n' "${date:-$(LC_ALL=C date '+%a %b %d %Y')}" "$version"
    # An entry of a list may go on in lines that are indented; a % would be a macro.
    sed -n '/^## /,$p' "$here/../CHANGELOG.md" | sed '1d; /^## /,$d; s/%/%%/g; /^$/d'
}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml" | head -1)
{ cat "$here/livemode.spec" && changelog; } >"$top/livemode.spec"
rpmbuild --quiet -bb --define "_topdir $top" --define "_rpmdir $out" --define "source $here/.." --define "built $built" \
    --define "version_of_workspace $version" "$top/livemode.spec"
find "$out" -name '*.rpm'
