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
    # What /boot and the ESP have is always there. -o: one that the kernel does not have must not keep the rest out.
    hostonly='' instmods -o squashfs loop overlay ext4 xfs vfat nls_cp437 nls_iso8859-1 nls_ascii nls_utf8
    # systemd-boot is told of what boots next by variables of the firmware.
    hostonly='' instmods -o efivarfs
    # A watchdog that runs since before the reboot has to be fed; dracut 049 takes none along by itself.
    hostonly='' instmods -o =drivers/watchdog ipmi_watchdog ipmi_devintf ipmi_si
}

install() {
    inst_binary "${LIVEMODE_BOOT:-/usr/libexec/livemode/livemode-boot}" /usr/bin/livemode-boot
    inst_hook cmdline 29 "$moddir/livemode-cmdline.sh"
    inst_hook initqueue/settled 10 "$moddir/livemode-settled.sh"
    inst_hook pre-mount 10 "$moddir/livemode-mount.sh"
    dracut_need_initqueue
    # What mounts the image is loaded while its disk appears.
    # shellcheck disable=SC2154 # set by dracut
    mkdir -p "$initdir/etc/modules-load.d"
    printf '%s\n' loop squashfs overlay > "$initdir/etc/modules-load.d/livemode.conf"
    # Nothing here goes by events of these, and they are most of all: a big machine has thousands for its memory alone.
    # The live system takes them.
    local without=(bdi drivers mem memory module tty vc workqueue)
    # Those of the processor load its own ciphers: a volume that is opened without them stays slow.
    dracut_module_included crypt || without+=(cpu)
    livemode_no_coldplug "${without[@]}"
    # It would start multipathd again while root is switched; multipathd conflicts with initrd-cleanup.service, whose job
    # is then cancelled, and nothing goes on (multipath-tools 0.9.4).
    livemode_off "$initdir/etc/systemd/system/multipathd.socket"
    # The live system sets the kernel's values, and nothing of ours mounts partitions by their types.
    livemode_off "$initdir/etc/systemd/system/systemd-sysctl.service"
    livemode_off "$initdir/etc/systemd/system-generators/systemd-gpt-auto-generator"
    # The package of multipath-tools would have its driver loaded on every machine.
    dracut_module_included multipath || rm -f "$initdir/usr/lib/modules-load.d/multipath.conf"
}

# Of these subsystems: the unit's own commands, with more words.
livemode_no_coldplug() {
    local unit=systemd-udev-trigger.service words commands
    words=$(printf ' --subsystem-nomatch=%s' "$@")
    # shellcheck disable=SC2154 # set by dracut
    commands=$(sed -n "s/^ExecStart=.*udevadm trigger.*/&$words/p" "${dracutsysrootdir-}$systemdsystemunitdir/$unit")
    [ -n "$commands" ] || return 0
    # shellcheck disable=SC2154 # set by dracut
    mkdir -p "$initdir/etc/systemd/system/$unit.d"
    printf '[Service]\nExecStart=\n%s\n' "$commands" > "$initdir/etc/systemd/system/$unit.d/livemode.conf"
}

livemode_off() {
    mkdir -p "${1%/*}" && ln -sfn /dev/null "$1"
}
