#!/bin/sh
# KVM hosts: libvirt as OpenNebula's package configures it. It defines no network and no storage, and starts no guest.
#
# Which of libvirt's two shapes the packages configure is in the table of systems. A host on which the other one alone
# is at work is left at it; both at once fight for the same sockets.

KVM_RUN=/run
KVM_SOCKETS='virtqemud.socket virtqemud-ro.socket virtnetworkd.socket virtnodedevd.socket virtsecretd.socket virtstoraged.socket'

kvm_active() { at_work "$1.service" || at_work "$1.socket"; }

kvm_preflight() {
    if [ "$PLAN_DRIVER" = kvm ] && [ ! -c /dev/kvm ]; then
        problem 'there is no /dev/kvm: virtualisation is off in the firmware, hidden by an outer hypervisor, or kvm is not loaded' \
            "switch it on, or set 'driver: qemu' for this host"
    fi
    if [ -d /run/systemd/system ] && kvm_active libvirtd && kvm_active virtqemud; then
        problem 'libvirtd and virtqemud are both at work, and fight for the same guests' \
            'systemctl disable --now the one that OpenNebula is not to use, with its sockets'
    fi
    if [ -d "/lib/modules/$(uname -r)" ] && ! limited 30 modinfo br_netfilter; then
        want_package '' "kernel-modules-extra-$(uname -r)" '' # EL 10 has put it there
    fi
}

# The packages' configuration is read at the next start. Whether it has been is seen by the daemon, after a run that was killed
# between installation and restart as well. Hosts without systemd start libvirt their own way.
kvm() {
    if [ ! -d "$KVM_RUN/systemd/system" ] || ! have virsh; then
        return 0
    fi
    shape=$LIBVIRT
    if [ "$shape" = modular ] && kvm_active libvirtd && ! kvm_active virtqemud; then
        shape=monolithic
    elif [ "$shape" = monolithic ] && kvm_active virtqemud && ! kvm_active libvirtd; then
        shape=modular
    fi
    case $shape in
        modular)
            daemon=virtqemud
            kvm_disable libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket
            for each in $KVM_SOCKETS; do kvm_enable "$each" --now; done
            ;;
        *)
            daemon=libvirtd
            # shellcheck disable=SC2086 # words
            kvm_disable virtqemud.service $KVM_SOCKETS
            kvm_enable libvirtd.service
            ;;
    esac
    if kvm_answers && ! kvm_outdated; then
        return 0
    fi
    if ! limited 90 systemctl restart "$daemon"; then
        die "$daemon does not start: $(last_words)" "systemctl status $daemon on the host"
    fi
    changed
    if ! kvm_answers; then
        die "$daemon does not answer oneadmin: $(last_words)" \
            "compare unix_sock_group in /etc/libvirt/$daemon.conf and run virsh -c qemu:///system list as oneadmin"
    fi
}

# kvm_enable UNIT [--now]: so that it is there after the next boot too, and with --now by now: a preset enables sockets and starts
# none. A daemon that runs does without its socket.
kvm_enable() {
    if timeout 20 systemctl --quiet is-enabled "$1" 2>>"$LOG" && { [ -z "${2:-}" ] || kvm_active "${1%.*}"; }; then
        return 0
    fi
    # shellcheck disable=SC2086 # an option or nothing
    limited 90 systemctl enable ${2:-} "$1" ||
        die "$1 cannot be enabled: $(last_words)" "systemctl status $1 on the host"
    changed
}

# kvm_disable UNIT...: of the other libvirt, which would be at work as well after the next boot.
kvm_disable() {
    for each in "$@"; do
        if [ "$(timeout 20 systemctl is-enabled "$each" 2>>"$LOG")" = enabled ] && ! kvm_active "${each%.*}"; then
            limited 90 systemctl disable "$each" ||
                die "$each cannot be disabled: $(last_words)" "systemctl disable $each on the host"
            changed
        fi
    done
}

kvm_answers() {
    limited 30 setpriv --reuid "$ONE_ID" --regid "$ONE_ID" --init-groups env -i HOME="$ONE_HOME" PATH="$PATH" \
        virsh -c qemu:///system list
}

# An answer alone proves nothing: Debian's package starts libvirtd with the distribution's configuration and lets in the group that
# oneadmin joins later. The daemon makes the file of its number at each start (libvirt's remote_daemon.c), before it reads qemu.conf.
kvm_outdated() {
    [ -n "$(find /etc/libvirt/qemu.conf "/etc/libvirt/$daemon.conf" -newer "$KVM_RUN/$daemon.pid" 2>>"$LOG")" ]
}

kvm_checks() {
    have virsh || problem 'virsh is missing' 'reinstall opennebula-node-kvm'
    if ! grep -qE '^[[:space:]]*user[[:space:]]*=[[:space:]]*"oneadmin"' /etc/libvirt/qemu.conf 2>/dev/null; then
        problem '/etc/libvirt/qemu.conf does not run guests as oneadmin' 'reinstall opennebula-node-kvm'
    fi
}

kvm_facts() {
    if [ -c /dev/kvm ]; then
        printf ', "acceleration": true'
    else
        printf ', "acceleration": false'
    fi
}
