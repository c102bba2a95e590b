#!/bin/sh
# dracut starts what is incomplete, such as an array with one half, after so many rounds of its initqueue. On a slow machine a
# round takes longer than it reckons, and our deadline would come first. So the clock counts: from two thirds of rd.retry= on.
# Sourced in that loop: these variables are its own, and RDRETRY is twice rd.retry=.
read -r livemode_uptime _ < /proc/uptime
if [ "${livemode_uptime%%.*}" -ge $((RDRETRY / 3)) ] && [ "$main_loop" -le $((2 * RDRETRY / 3)) ]; then
    main_loop=$((2 * RDRETRY / 3 + 1))
fi
