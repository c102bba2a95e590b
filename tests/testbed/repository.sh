#!/bin/bash
# Builds the demo's dnf repositories from real RPMs: OUT/1 and OUT/2 (releases of the demo's distribution), and
# OUT/target: empty RPMs whose names the container needs and whose content it has from Debian packages.
set -euo pipefail
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build REPOSITORY NAME VERSION INSTALL-COMMANDS FILES
build() {
    local spec=$work/$2.spec
    {
        printf 'Name: %s\nVersion: %s\nRelease: 1\nSummary: LiveMode demo package\nLicense: Apache-2.0\nBuildArch: noarch\n' "$2" "$3"
        printf '%%description\nLiveMode demo package.\n%%install\n%s\n%%files\n%s\n' "$4" "$5"
    } >"$spec"
    rpmbuild --quiet -bb --define "_topdir $work/top" --define "_rpmdir $out/$1" "$spec"
}

for release in 1 2; do
    build "$release" demo-release "$release" \
        "mkdir -p %{buildroot}/etc; echo 'Demo Linux release $release' >%{buildroot}/etc/demo-release" /etc/demo-release
    build "$release" demo-tool "$release" \
        "mkdir -p %{buildroot}/usr/bin; printf '#!/bin/sh\necho demo-tool $release\n' >%{buildroot}/usr/bin/demo-tool" \
        '%attr(0755,root,root) /usr/bin/demo-tool'
    build "$release" demo-data "$release" \
        "mkdir -p %{buildroot}/usr/share/demo; seq 1 ${release}0000 >%{buildroot}/usr/share/demo/data" /usr/share/demo/data
done
for name in NetworkManager dbus-daemon dracut-live dracut-squash kexec-tools less openssh-clients openssh-server crypto-policies passwd \
    strace systemd-container util-linux lvm2 mdadm cryptsetup device-mapper-multipath iscsi-initiator-utils nfs-utils; do
    build target "$name" 1 '' ''
done
build target demo-extra 1 \
    "mkdir -p %{buildroot}/usr/bin; printf '#!/bin/sh\necho extra\n' >%{buildroot}/usr/bin/demo-extra" \
    '%attr(0755,root,root) /usr/bin/demo-extra'
for repository in 1 2 target; do
    createrepo_c --quiet "$out/$repository"
done
