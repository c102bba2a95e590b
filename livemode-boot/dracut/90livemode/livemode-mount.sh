#!/bin/sh
# Before sysroot.mount starts: systemd then finds /sysroot mounted and has nothing to do.
case "$(getarg root=)" in
    livemode:* | live:*)
        # shellcheck disable=SC2154 # set by dracut
        /usr/bin/livemode-boot mount --sysroot "$NEWROOT"
        ;;
esac
