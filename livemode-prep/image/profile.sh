# shellcheck shell=sh
# Whoever logs in sees where the upgrade stands, and what to do now.
case $- in *i*) /usr/bin/livemode-run status ;; esac
