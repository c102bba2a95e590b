#!/bin/bash
# Unpacks Debian packages, without what they depend on, and installs nothing: packages.sh SUITE OUT PACKAGE...
# shellcheck disable=SC2016 # the hook's $1 is for the shell that mmdebstrap starts
set -euo pipefail
suite=$1 out=$2
shift 2
mkdir -p "$out"

unpack='
    cd "$1"
    export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
    apt-get --quiet --quiet download '"$*"'
    for package in *.deb; do dpkg-deb --extract "$package" "'$out'"; done
'
# A mirror may stand still, and lists of a suite that is not released expire: as this machine's apt takes that.
expiry=$(apt-config dump Acquire::Check-Valid-Until)

mmdebstrap --mode=root --variant=custom --format=null ${expiry:+--aptopt="$expiry"} \
    --customize-hook="$unpack" "$suite" /dev/null
