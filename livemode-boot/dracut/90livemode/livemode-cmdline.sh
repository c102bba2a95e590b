#!/bin/sh
# Takes root=livemode:… and root=live:…, and keeps the initqueue going until the device is there or its deadline
# has passed: without a condition it ends at once, and LVM, MD and crypt time-outs are never driven.
case "$(getarg root=)" in
    livemode:* | live:*)
        # shellcheck disable=SC2034 # read by dracut-cmdline
        rootok=1
        # shellcheck disable=SC2154 # set by dracut
        echo '/usr/bin/livemode-boot settled 2>/dev/null' > "$hookdir/initqueue/finished/livemode.sh"
        ;;
esac
