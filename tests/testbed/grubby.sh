#!/bin/bash
# A stand-in for grubby(8), which no registry here has: keeps entries by the Boot Loader Specification as the script of el8 and
# el9 does (8.40), with what is strange about it:
#   - entries are sorted by their names, the highest first; a kernel may have several, and the first is meant where one is
#   - a kernel's second entry is named ~custom
#   - --copy-default --args appends, and does not look whether a key is there
#   - --make-default goes by the title
#   - an environment block that cannot be written is no error
# tests/grubby.rs shows it, of the real script as well.
set -euo pipefail
entries=/boot/loader/entries
env=/boot/grub2/grubenv
kernel='' initrd='' title='' args='' remove='' action='' default='' copy=''

longs=add-kernel:,args:,config-file:,copy-default,default-kernel,default-index,default-title,info:,initrd:,make-default
words=$(getopt -o c: --long "$longs,remove-args:,remove-kernel:,set-default:,set-default-index:,title:,update-kernel:" -n grubby -- "$@") || exit 1
eval set -- "$words"
while [ "$1" != -- ]; do
    case $1 in
        --default-kernel | --default-index | --default-title) action=${1#--} ;;
        --add-kernel | --update-kernel | --remove-kernel | --set-default | --set-default-index | --info)
            action=${1#--} kernel=$2
            shift
            ;;
        --initrd) initrd=$2 && shift ;;
        --title) title=$2 && shift ;;
        --args) args=$2 && shift ;;
        --remove-args) remove=$2 && shift ;;
        --copy-default) copy=yes ;;
        --make-default) default=yes ;;
        -c | --config-file) shift ;;
    esac
    shift
done

field() { sed -n "s/^$2[ \t]*//p" "$1"; }
variable() { grep -a "^$1=" $env | sed "s/^$1=//" || true; }
set_default() { grub2-editenv $env set "saved_entry=$1" || true; }
failed() { echo "$1" >&2 && exit 1; }

ids=()
scan() {
    # shellcheck disable=SC2207 # no name has a blank
    ids=($(find $entries -name '*.conf' -printf '%f\n' | sed 's/\.conf$//' | /usr/libexec/grubby/rpm-sort -c rpmnvrcmp | tac))
}
# The numbers of the entries that a parameter stands for.
matching() {
    local i linux
    for i in "${!ids[@]}"; do
        linux=$(field "$entries/${ids[i]}.conf" linux)
        if [ "$1" = "$linux" ] || [ "/${1##*/}" = "$linux" ] || [ "$1" = "$i" ] ||
            [ "$1" = "TITLE=$(field "$entries/${ids[i]}.conf" title)" ]; then
            echo "$i"
        fi
    done
}
default_index() {
    local i saved
    saved=$(variable saved_entry)
    [ -n "$saved" ] || saved=0
    for i in "${!ids[@]}"; do
        if [ "$saved" = "$i" ] || [ "$saved" = "${ids[i]}" ]; then
            echo "$i"
            return
        fi
    done
}
# without OPTIONS WORDS: a word with a value is taken out once, one without stands for the key with any.
without() {
    local word out='' unwanted taken=' '
    for word in $1; do
        unwanted=''
        for other in $2; do
            if [ "$word" = "$other" ] && [[ $taken != *" $other "* ]]; then
                unwanted=yes taken+="$other "
            elif [[ $other != *=* && ${word%%=*} = "$other" ]]; then
                unwanted=yes
            fi
        done
        [ -n "$unwanted" ] || out+=" $word"
    done
    echo "${out# }"
}
# with OPTIONS WORDS: each word takes the place of all those of its key.
with() {
    local word keys=''
    for word in $2; do
        keys+=" ${word%%=*}"
    done
    word=$(without "$1" "$keys")
    echo "${word:+$word }$2"
}
set -f # words of options are no patterns
scan
case $action in
    default-kernel) field "$entries/${ids[$(default_index)]}.conf" linux ;;
    default-index) default_index ;;
    default-title) field "$entries/${ids[$(default_index)]}.conf" title ;;
    info)
        found=$(matching "$kernel")
        [ -n "$found" ] || failed "The param $kernel is incorrect"
        for i in $found; do
            entry=$entries/${ids[i]}.conf
            options=$(field "$entry" options)
            root=$(grep -o '\(^\| \)root=[^ ]*' <<<"$options" | head -1 | sed 's/^ *root=//' || true)
            printf 'index=%s\nkernel="%s"\nargs="%s"\nroot="%s"\ninitrd="%s"\ntitle="%s"\nid="%s"\n' "$i" "$(field "$entry" linux)" \
                "$(without "$options" "root=$root")" "$root" "$(field "$entry" initrd)" "$(field "$entry" title)" "${ids[i]}"
        done
        ;;
    add-kernel)
        [ -f "$kernel" ] || failed "The ${kernel##*/} kernel isn't installed in the machine"
        [ -n "$title" ] || failed 'The kernel title must be specified'
        version=${kernel##*/} version=${version#vmlinuz-}
        id=$(cat /etc/machine-id)-$version
        if [ -e "$entries/$id.conf" ]; then
            last=$(find $entries -name "$id.*~custom*.conf" -printf '%f\n' | sed "s/^$id\.\([0-9]*\)~.*/\1/" | sort -n | tail -1)
            id=$id.$((${last:--1} + 1))~custom
        fi
        options=$args
        [ -z "$copy" ] || options="$(field "$entries/${ids[$(default_index)]}.conf" options) $args"
        printf 'title %s\nversion %s\nlinux %s\ninitrd %s\noptions %s\n' "$title" "$version" "$kernel" "$initrd" "$options" \
            >"$entries/$id.conf"
        scan
        if [ -n "$default" ]; then
            first=$(matching "TITLE=$title" | sed -n 1p)
            set_default "${ids[first]}"
        fi
        ;;
    update-kernel)
        found=$(matching "$kernel")
        [ -n "$found" ] || failed "The param $kernel is incorrect"
        for i in $found; do
            entry=$entries/${ids[i]}.conf
            options=$(with "$(without "$(field "$entry" options)" "$remove")" "$args")
            { grep -v '^options' "$entry" && echo "options $options"; } >"$entry.new"
            cat "$entry.new" >"$entry"
            rm "$entry.new"
        done
        ;;
    remove-kernel)
        found=$(matching "$kernel")
        [ -n "$found" ] || failed "The param $kernel is incorrect"
        was=$(default_index)
        for i in $found; do
            [ "$i" != "$was" ] || grub2-editenv $env unset saved_entry || true
            rm -f "$entries/${ids[i]}.conf"
        done
        ;;
    set-default | set-default-index)
        found=$(matching "$kernel" | sed -n 1p)
        [ -n "$found" ] || failed "The param $kernel is incorrect"
        set_default "${ids[found]}"
        ;;
    *) failed 'no action specified' ;;
esac
