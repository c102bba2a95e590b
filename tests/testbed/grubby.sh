#!/bin/bash
# A stand-in for grubby(8), which no registry here has: keeps entries by the Boot Loader Specification as the real script
# does, one value for each key. /etc/grubby-fails-at holds the number of the changing call that fails half-way, and
# /etc/grubby-hangs-at the one that never ends.
set -euo pipefail
entries=/boot/loader/entries
env=/boot/grub2/grubenv
kernel='' initrd='' title='' args='' remove='' action='' default=''

while [ $# -gt 0 ]; do
    case $1 in
        --default-kernel) action=default ;;
        --add-kernel | --update-kernel | --remove-kernel | --set-default | --info)
            action=${1#--} kernel=$2
            shift
            ;;
        --initrd) initrd=$2 && shift ;;
        --title) title=$2 && shift ;;
        --args) args=$2 && shift ;;
        --remove-args) remove=$2 && shift ;;
        --copy-default) ;;
        --make-default) default=yes ;;
        -c) shift ;;
        *) echo "grubby: unknown option $1" >&2 && exit 1 ;;
    esac
    shift
done

saved() { sed -n 's/^saved_entry=//p' $env; }
# Exactly 1024 bytes, as grub2-editenv writes them.
save() {
    local block
    block=$(grep -av '^#*$\|^saved_entry=' $env; echo "saved_entry=$1")
    block+=$'\n'
    printf '%s%s' "$block" "$(printf '#%.0s' $(seq $((1024 - ${#block}))))" >$env
}
entry_of() { grep -lE "^linux .*/?$(basename "$1")\$" $entries/*.conf 2>/dev/null | head -1; }
field() { sed -n "s/^$2 //p" "$1"; }
# Splits at blanks outside of quotes.
words() { printf '%s\n' "$1" | grep -oE '([^" ]|"[^"]*")+' || true; }

# without OPTIONS KEYS: the words whose key, or whole, is none of these.
without() {
    local word out=''
    while IFS= read -r word; do
        [ -n "$word" ] || continue
        case " $2 " in
            *" ${word%%=*} "* | *" $word "*) ;;
            *) out+=" $word" ;;
        esac
    done <<<"$(words "$1")"
    echo "${out# }"
}

# with OPTIONS WORDS: each word takes the place of those of its key.
with() {
    local word options=$1
    while IFS= read -r word; do
        [ -n "$word" ] || continue
        options="$(without "$options" "${word%%=*}") $word"
    done <<<"$(words "$2")"
    echo "${options# }"
}

count() {
    local n
    n=$(($(cat /run/grubby-calls 2>/dev/null || echo 0) + 1))
    mkdir -p /run
    echo $n >/run/grubby-calls
    if [ "$n" = "$(cat /etc/grubby-hangs-at 2>/dev/null)" ]; then exec sleep 600; fi
    if [ "$n" = "$(cat /etc/grubby-fails-at 2>/dev/null)" ]; then
        echo "grubby: call $n fails" >&2
        exit 1
    fi
}

case $action in
    default)
        field "$entries/$(saved).conf" linux | sed 's#^/\?\(boot\)\?/\?#/boot/#'
        ;;
    info)
        entry=$(entry_of "$kernel")
        [ -n "$entry" ] || { echo "grubby: no entry for $kernel" >&2 && exit 1; }
        options=$(field "$entry" options)
        root=$(words "$options" | sed -n 's/^root=//p')
        printf 'index=0\nkernel="%s"\nargs="%s"\nroot="%s"\ninitrd="%s"\ntitle="%s"\nid="%s"\n' "$kernel" \
            "$(without "$options" root)" "$root" "$(field "$entry" initrd)" "$(field "$entry" title)" "$(basename "$entry" .conf)"
        ;;
    add-kernel)
        [ -f "$kernel" ] || { echo "grubby: $kernel is not there" >&2 && exit 1; }
        id=abcdef0123456789abcdef0123456789-${kernel##*/vmlinuz-}
        options=$(with "$(field "$entries/$(saved).conf" options)" "$args")
        printf 'title %s\nversion upgrade\nlinux %s\ninitrd %s\noptions %s\n' "$title" "$kernel" "$initrd" "$options" \
            >"$entries/$id.conf"
        count
        [ -z "$default" ] || save "$id"
        ;;
    update-kernel)
        entry=$(entry_of "$kernel")
        options=$(without "$(with "$(field "$entry" options)" "$args")" "$remove")
        sed -i "s#^options .*#options ${options//&/\\&}#" "$entry"
        count
        ;;
    remove-kernel)
        rm "$(entry_of "$kernel")"
        count
        ;;
    set-default)
        save "$(basename "$(entry_of "$kernel")" .conf)"
        count
        ;;
esac
