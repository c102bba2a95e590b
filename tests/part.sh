#!/bin/bash
# Runs a part of `make check`, and writes down its time by the clock and of the processors: part.sh NAME COMMAND...
set -euo pipefail
name=$1
shift
echo "== $name"
mkdir -p target
TIMEFORMAT='%1R %1U %1S'
{ took=$( { time "$@" >&3 2>&4; } 2>&1); } 3>&1 4>&2
read -r clock user system <<<"$took"
awk -v clock="$clock" -v user="$user" -v system_="$system" -v name="$name" \
    'BEGIN { printf "%.1f\t%.1f\t%s\n", clock, user + system_, name }' >>target/times
