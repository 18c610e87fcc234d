#!/bin/sh
# Only for hosts that are told to: the client programs of Ceph, and NFS mounts. No key and no password is placed here.
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
        server=${source%%:/*}
        server=$(printf '%s' "$server" | tr -d '[]')
        if [ -n "$server" ] && ! timeout 15 getent ahosts "$server" >/dev/null; then
            problem "the host cannot resolve $server, which $target is to be mounted from" 'mend the DNS server or the config'
        fi
        present=$(awk -v target="$target" '$2 == target { found = $1 } END { print found }' /proc/mounts)
        if [ -n "$target" ] && [ -n "$present" ] && [ "$present" != "$source" ]; then
            problem "$target is mounted from $present already, not from $source" "umount $target on the host, or correct the config"
        fi
        if [ -n "$target" ] && without_block /etc/fstab 2>/dev/null |
            awk -v target="$target" '$1 !~ /^#/ && $2 == target { found = 1 } END { exit !found }'; then
            problem "/etc/fstab has a line for $target already" 'remove that line, or the mount from the config'
        fi
    done <<MOUNTS
$PLAN_MOUNTS
MOUNTS
}

storage() {
    lines=$(printf '%s\n' "$PLAN_MOUNTS" | awk 'NF { print $1, $2, "nfs", $3, 0, 0 }')
    put_block /etc/fstab root:root 0644 bottom "$lines"
    while read -r source target _; do
        if [ -z "$target" ]; then
            continue
        fi
        if [ ! -d "$target" ]; then
            made directory "$target"
            install -d -o "$ONE_USER" -g "$ONE_USER" -m 0750 "$target"
            changed
        fi
        if ! awk -v target="$target" '$2 == target { found = 1 } END { exit !found }' /proc/mounts; then
            limited 90 mount "$target" ||
                die "$target cannot be mounted from $source: $(last_words)" "mount $target on the host"
            changed
        fi
    done <<MOUNTS
$PLAN_MOUNTS
MOUNTS
}

# A server that squashes root must still let oneadmin write.
storage_checks() {
    while read -r source target _; do
        if [ -n "$target" ] && ! timeout 60 setpriv --reuid "$ONE_ID" --regid "$ONE_ID" --init-groups test -w "$target"; then
            problem "oneadmin cannot write to $target" "give $source to uid and gid $ONE_ID on the server"
        fi
    done <<MOUNTS
$PLAN_MOUNTS
MOUNTS
}
