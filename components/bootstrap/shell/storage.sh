#!/bin/sh
# The client programs of Ceph, and NFS mounts, on hosts that are told to; mounts that they are not told any more go. No key and
# no password is placed here.
#
# PLAN_MOUNTS has a line a mount: SOURCE TARGET OPTIONS.

storage_preflight() {
    if [ -n "$PLAN_CEPH" ]; then
        case $PLAN_KIND in
            kvm) want_package 'ceph-common qemu-block-extra' 'ceph-common qemu-kvm-block-rbd' 'ceph-common qemu-block-rbd' ;;
            *) want_package 'ceph-common rbd-nbd' 'ceph-common rbd-nbd' 'ceph-common rbd-nbd' ;;
        esac
    fi
    if [ -n "$PLAN_MOUNTS" ]; then
        want_package nfs-common nfs-utils nfs-client
    fi
    while read -r source target _; do
        if [ -z "$target" ]; then
            continue
        fi
        server=$(printf '%s' "${source%%:/*}" | tr -d '[]')
        if ! timeout 15 getent ahosts "$server" >/dev/null; then
            problem "the host cannot resolve $server, which $target is to be mounted from" 'mend the DNS server or the config'
        fi
        present=$(mounted_from "$target")
        if [ -n "$present" ] && [ "$present" != "$source" ] && ! mounts_ours | cut -d ' ' -f 1,2 | grep -qxF "$present $target"; then
            problem "$target is mounted from $present already, not from $source" "umount $target on the host, or correct the config"
        fi
        if [ -n "$present" ] && ! storage_answers "$target"; then
            problem "$target, mounted from $present, does not answer" "mend its server, or umount -f -l $target on the host"
            continue
        fi
        # by that name the kernel lists it
        real=$(bounded 20 readlink -m "$target")
        if [ "$real" != "$target" ]; then
            problem "$target lies behind a symbolic link" "name $real in the config"
        fi
        if without_block "$FSTAB" 2>/dev/null |
            awk -v target="$target" '$1 !~ /^#/ && $2 == target { found = 1 } END { exit !found }'; then
            problem "$FSTAB has a line for $target already" 'remove that line, or the mount from the config'
        fi
    done <<MOUNTS
$PLAN_MOUNTS
MOUNTS
}

# A file system without its server lets everybody wait who looks at it.
storage_answers() {
    answered=0
    timeout -k 5 20 stat "$1" >/dev/null 2>&1 9>&- || answered=$?
    case $answered in
        124 | 137) return 1 ;;
    esac
}

# What is no longer wanted is unmounted before its line goes, and before anything is mounted in its place.
storage() {
    wanted=$(printf '%s\n' "$PLAN_MOUNTS" | awk 'NF { print $1, $2 }')
    withdraw_mounts "$wanted"
    mounts_ours >"$WORK/before"
    storage_options
    if [ -n "$wanted" ]; then
        put_block "$FSTAB" root:root 0644 bottom "$(printf '%s\n' "$PLAN_MOUNTS" | awk 'NF { print $1, $2, "nfs", $3, 0, 0 }')"
    else
        drop_block "$FSTAB"
    fi
    while read -r source target _; do
        if [ -z "$target" ] || [ -n "$(mounted_from "$target")" ]; then
            continue
        fi
        if ! bounded 20 test -d "$target"; then
            made directory "$target"
            place "$target" install -d -o "$ONE_USER" -g "$ONE_USER" -m 0750 "$target"
            changed
        fi
        limited 90 mount "$target" ||
            die "$target cannot be mounted from $source: $(last_words)" "mount $target on the host"
        changed
    done <<MOUNTS
$PLAN_MOUNTS
MOUNTS
    withdraw_directories "$(printf '%s\n' "$wanted" | cut -d ' ' -f 2)"
}

# Other options than our line in fstab has, which changes only afterwards: a run that is cut comes back here. NFS takes few of
# them by a remount, so it is mounted anew; where that fails, once more as it was.
storage_options() {
    while read -r source target options; do
        if [ -z "$target" ] || [ "$(mounted_from "$target")" != "$source" ]; then
            continue
        fi
        had=$(awk -v source="$source" -v target="$target" '$1 == source && $2 == target { print $4 }' "$WORK/before")
        if [ -z "$had" ]; then
            made found-mount "$source $target"
        elif [ "$had" = "$options" ]; then
            continue
        elif is_made found-mount "$source $target"; then
            say "$target keeps the options that it was mounted with: that was before us"
        else
            withdraw_mount "$target"
            if ! limited 90 mount -t nfs -o "$options" "$source" "$target"; then
                said=$(last_words)
                limited 90 mount "$target" || true
                die "$target cannot be mounted with the options $options: $said" "correct the mount's options in the config"
            fi
        fi
    done <<MOUNTS
$PLAN_MOUNTS
MOUNTS
}

# A server that squashes root must still let oneadmin write.
storage_checks() {
    while read -r source target _; do
        if [ -n "$target" ] && ! timeout -k 5 60 setpriv --reuid "$ONE_ID" --regid "$ONE_ID" --init-groups test -w "$target"; then
            problem "oneadmin cannot write to $target" "give $source to uid and gid $ONE_ID on the server"
        fi
    done <<MOUNTS
$PLAN_MOUNTS
MOUNTS
}
