#!/bin/sh
# AppArmor and SELinux stay on. What the packages leave out: guests must be let at the datastores.
#
# Containers need nothing: LXC's own profiles and contexts do. Whatever is off stays off, and the facts say so.

DATASTORES=/var/lib/one/datastores
APPARMOR_ABSTRACTION=/etc/apparmor.d/abstractions/libvirt-qemu
APPARMOR_SWITCH=/sys/module/apparmor/parameters/enabled

confined_by() {
    if [ "$(cat "$APPARMOR_SWITCH" 2>/dev/null)" = Y ] && [ -d /etc/apparmor.d ]; then
        printf apparmor
    elif have getenforce; then
        case $(bounded 30 getenforce) in
            Enforcing) printf selinux ;;
            Permissive) printf 'selinux (permissive)' ;;
        esac
    fi
}

# semanage is no part of a minimal installation
confinement_preflight() {
    case $PLAN_KIND:$(confined_by) in
        kvm:selinux*) have semanage ||
            want_package '' policycoreutils-python-utils policycoreutils-python-utils ;;
    esac
}

confinement() {
    case $PLAN_KIND:$(confined_by) in
        kvm:apparmor) confinement_apparmor ;;
        kvm:selinux*) confinement_selinux ;;
    esac
}

# In a file of our own beside libvirt's, which every guest's profile includes: newer ones want a directory, older a file.
confinement_apparmor() {
    if [ ! -f "$APPARMOR_ABSTRACTION" ]; then
        return 0
    fi
    if grep -q '<abstractions/libvirt-qemu\.d>' "$APPARMOR_ABSTRACTION"; then
        own=$APPARMOR_ABSTRACTION.d/opennebula
    elif grep -q '<local/abstractions/libvirt-qemu>' "$APPARMOR_ABSTRACTION"; then
        own=/etc/apparmor.d/local/abstractions/libvirt-qemu
    else
        own=$APPARMOR_ABSTRACTION
    fi
    place "$own" mkdir -p "$(dirname "$own")"
    before=$CHANGES
    CHANGES=''
    put_block "$own" root:root 0644 bottom "  $DATASTORES/** rwk,"
    if [ -z "$CHANGES" ]; then
        CHANGES=$before
        return 0
    fi
    CHANGES=$before
    changed
    # a guest's profile is made at its start; those that run keep theirs
    if [ -d /run/systemd/system ] && at_work apparmor.service; then
        limited 90 systemctl reload apparmor.service ||
            die "AppArmor does not take its profiles: $(last_words)" 'systemctl status apparmor on the host'
    fi
}

confinement_selinux() {
    pattern="$DATASTORES(/.*)?"
    if ! timeout 120 semanage fcontext -l -C 2>>"$LOG" | awk -v want="$pattern" '$1 == want && /:virt_image_t:/ { found = 1 } END { exit !found }'; then
        # -a refuses what is there with another type, -m what is not there
        limited 120 semanage fcontext -a -t virt_image_t "$pattern" || limited 120 semanage fcontext -m -t virt_image_t "$pattern" ||
            die "semanage cannot label $DATASTORES: $(last_words)" "semanage fcontext -a -t virt_image_t '$pattern'"
        changed
    fi
    if bounded 30 test -d "$DATASTORES" && [ -n "$(timeout 300 restorecon -R -n -v "$DATASTORES" 2>>"$LOG")" ]; then
        limited 600 restorecon -R "$DATASTORES" ||
            die "restorecon fails: $(last_words)" "restorecon -R $DATASTORES on the host"
        changed
    fi
    # datastores on NFS, ours or mounted otherwise
    if [ -n "$PLAN_MOUNTS" ] || grep -q " $DATASTORES.* nfs" /proc/mounts; then
        case $(bounded 60 getsebool virt_use_nfs 2>>"$LOG") in
            *on) ;;
            *)
                limited 120 setsebool -P virt_use_nfs on ||
                    die "SELinux does not let guests use NFS: $(last_words)" 'setsebool -P virt_use_nfs on'
                changed
                ;;
        esac
    fi
}
