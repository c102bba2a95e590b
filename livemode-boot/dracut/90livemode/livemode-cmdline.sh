#!/bin/sh
# Takes root=livemode:… and root=live:…, and keeps the initqueue going until the device is there or its deadline
# has passed: without a condition it ends at once, and LVM, MD and crypt time-outs are never driven. The first of
# the queue's conditions, for at the deadline it takes the others away.
case "$(getarg root=)" in
    livemode:*://* | live:*://*) echo 'rd.neednet=1' > /etc/cmdline.d/90-livemode.conf ;;
esac
case "$(getarg root=)" in
    livemode:* | live:*)
        # shellcheck disable=SC2034 # read by dracut-cmdline
        rootok=1
        # shellcheck disable=SC2154 # set by dracut
        finished="$hookdir/initqueue/finished"
        echo "/usr/bin/livemode-boot settled --conditions $finished 2>/dev/null" > "$finished/00-livemode.sh"
        ;;
esac
