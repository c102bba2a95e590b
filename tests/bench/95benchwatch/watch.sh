#!/bin/sh
# In the background: each moment as a line in the kernel log, in seconds since boot.
bench_say() {
    read -r now _ </proc/uptime
    echo "bench: $1 $now" >/dev/kmsg
}

bench_is_mounted() {
    while read -r _ dir _; do
        [ "$dir" = /sysroot ] && return 0
    done </proc/mounts
    return 1
}

bench_watch() {
    until [ -b "/dev/disk/by-uuid/$1" ]; do sleep 0.02; done
    bench_say device
    until bench_is_mounted; do sleep 0.02; done
    bench_say root
}

# dmsquash-live of dracut 059 does not make these two, and cannot mount its overlay then (060 does).
mkdir -p /run/overlayfs /run/ovlwork
# dracut sources its hooks: $root is its own.
bench_root=$(getarg root=)
! getarg bench.watch >/dev/null || bench_watch "${bench_root##*UUID=}" &
