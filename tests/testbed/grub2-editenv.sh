#!/bin/bash
# A stand-in for grub2-editenv(1), whose package the source system lacks: grub2-editenv [FILE|-] list|set NAME=VALUE...|unset NAME...
set -euo pipefail
file=$1 action=${2:-}
if [ $# -eq 1 ]; then
    action=$1 file=-
else
    shift
fi
[ "$file" != - ] || file=/boot/grub2/grubenv
shift
[ -f "$file" ] || { echo "grub2-editenv: error: cannot open \`$file'" >&2 && exit 1; }
variables=$(grep -av '^#' "$file" || true)
case $action in
    list)
        printf '%s\n' "$variables"
        exit
        ;;
    set | unset)
        for word in "$@"; do
            variables=$(grep -v "^${word%%=*}=" <<<"$variables" || true)
            [ "$action" = unset ] || variables+=$'\n'$word
        done
        ;;
    *) exit 1 ;;
esac
block=$(printf '# GRUB Environment Block\n%s' "$variables" | grep .)
block+=$'\n'
# Exactly 1024 bytes.
printf '%s%s' "$block" "$(printf '#%.0s' $(seq $((1024 - ${#block}))))" >"$file"
