#!/bin/bash
# Makes a root directory from Debian packages: tree.sh container|source SUITE REPOSITORIES OUT
# shellcheck disable=SC2016 # the hooks' $1 is for the shell that mmdebstrap starts
set -euo pipefail
kind=$1 suite=$2 repositories=$3 out=$4
files=$(dirname "$(readlink -f "$0")")/source

common=systemd,systemd-sysv,udev,kmod,login,passwd,mount,e2fsprogs,procps,linux-image-cloud-amd64,dnf,rpm
case $kind in
    container)
        packages=$common,dbus,libpam-systemd,iproute2,dracut,systemd-container,strace,squashfs-tools,zstd,less
        packages=$packages,xfsprogs,btrfs-progs,lvm2,dracut-network,dracut-live,curl,ca-certificates,xz-utils
        packages=$packages,network-manager,openssh-server,mdadm,cryptsetup-bin,multipath-tools,open-iscsi,nfs-common,fdisk,thin-provisioning-tools
        [ "$suite" = bookworm ] || packages=$packages,systemd-cryptsetup
        repository=target
        ;;
    source)
        packages=$common,python3,tiny-initramfs
        repository=1
        ;;
esac

# In the tree: rpm's database where dnf and RHEL have it, and the repository that dnf installs from.
configure='
    mkdir -p "$1/etc/rpm" "$1/etc/yum.repos.d" "$1/srv/repositories"
    echo "%_dbpath /var/lib/rpm" >"$1/etc/rpm/macros"
    printf "[demo]\nname=LiveMode demo\nbaseurl=file:///srv/repositories/'$repository'\ngpgcheck=0\n" >"$1/etc/yum.repos.d/demo.repo"
'
if [ "$kind" = source ]; then
    install='
        chroot "$1" dnf -q -y install demo-release demo-tool demo-data
        chroot "$1" mktirfs -m no --include-modules=virtio_pci,virtio_blk -o "/boot/initrd.img-source" "$(ls "$1/lib/modules")"
        cp -r "'$files'/." "$1/"
        "'$files'/../loader.sh" "$1"
        chmod 600 "$1/etc/NetworkManager/system-connections/"*
        mkdir -p "$1/etc/ssh" "$1/root/.ssh"
        ssh-keygen -q -t ed25519 -N "" -C host -f "$1/etc/ssh/ssh_host_ed25519_key"
        ssh-keygen -q -t ed25519 -N "" -C admin -f "$1/root/.ssh/id_ed25519"
        cp "$1/root/.ssh/id_ed25519.pub" "$1/root/keys"
    '
else
    install='chroot "$1" rpm --initdb'
fi

# Dracut's hook would make an initramfs that nobody boots: in its place stands one that does nothing.
stub='mkdir -p "$1/etc/kernel/postinst.d"; ln -s /bin/true "$1/etc/kernel/postinst.d/dracut"'

mmdebstrap --mode=root --variant=essential --format=directory \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/etc/kernel/postinst.d/dracut' \
    --aptopt='Apt::Install-Recommends "false"' \
    --include="$packages" \
    --essential-hook="$stub" \
    --customize-hook="$configure" \
    --customize-hook="cp -r '$repositories/.' \"\$1/srv/repositories\"" \
    --customize-hook="$install" \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
    "$suite" "$out"

if [ "$kind" = source ]; then
    # mmdebstrap empties it at its end.
    cp "$files/etc/machine-id" "$out/etc/machine-id"
fi
