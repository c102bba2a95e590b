#!/bin/bash
# shellcheck disable=SC2154 # moddir is set by dracut
# Mounts a LiveMode image as root. Added by name only: dracut --add livemode.

check() {
    return 255
}

depends() {
    echo base
}

installkernel() {
    hostonly='' instmods squashfs loop overlay ext4 xfs btrfs vfat nls_cp437 nls_iso8859-1 nls_ascii
}

install() {
    inst_binary "${LIVEMODE_BOOT:-/usr/libexec/livemode/livemode-boot}" /usr/bin/livemode-boot
    inst_hook cmdline 29 "$moddir/livemode-cmdline.sh"
    inst_hook pre-mount 10 "$moddir/livemode-mount.sh"
    dracut_need_initqueue
    # It would start multipathd again while root is switched; multipathd conflicts with initrd-cleanup.service, whose job
    # is then cancelled, and nothing goes on (multipath-tools 0.9.4).
    # shellcheck disable=SC2154 # set by dracut
    mkdir -p "$initdir/etc/systemd/system" && ln -sfn /dev/null "$initdir/etc/systemd/system/multipathd.socket"
}
