#!/bin/sh
# LXC hosts: cgroups, kernel modules and the id range of unprivileged containers. It makes no container.

# src/vmm_mad/remotes/lib/lxc/opennebula_vm.rb maps container ids from here on.
LXC_FIRST_ID=600100001
LXC_IDS=65537
LXC_MODULES='loop nbd' # raw and qcow2 disks

lxc_preflight() {
    if [ ! -e /sys/fs/cgroup/cgroup.controllers ] && [ ! -d /sys/fs/cgroup/memory ]; then
        problem 'no cgroups at /sys/fs/cgroup' 'mount cgroup2 there, as systemd does'
    fi
    if [ "$(cat /proc/sys/user/max_user_namespaces 2>/dev/null || echo 0)" -eq 0 ]; then
        problem 'user namespaces are switched off' 'sysctl -w user.max_user_namespaces=15000, and keep it in /etc/sysctl.d'
    fi
    for each in $(lxc_absent_modules); do
        # a container cannot load modules: what it misses is its outer host's matter
        if [ -d "/lib/modules/$(uname -r)" ] && ! limited 30 modinfo "$each"; then
            problem "the kernel $(uname -r) has no module $each" "install it (kernel-modules-extra, linux-modules-extra) on the host"
        fi
    done
}

lxc_absent_modules() {
    for module in $LXC_MODULES; do
        if [ ! -d "/sys/module/$module" ] && ! grep -q " $module\$" /proc/devices; then
            printf '%s\n' "$module"
        fi
    done
}

# The package lists the modules for the next boot; they are needed now.
lxc() {
    lxc_range /etc/subuid
    lxc_range /etc/subgid
    if [ -d "/lib/modules/$(uname -r)" ]; then
        for each in $(lxc_absent_modules); do
            limited 30 modprobe "$each" ||
                die "the module $each cannot be loaded: $(last_words)" "modprobe $each on the host"
            changed
        done
    fi
}

lxc_range() {
    others=''
    if [ -f "$1" ]; then
        if awk -F: -v first="$LXC_FIRST_ID" -v many="$LXC_IDS" '
            $1 == "root" && $2 <= first && $2 + $3 >= first + many { found = 1 }
            END { exit !found }
        ' "$1"; then
            return 0
        fi
        others=$(cat "$1")
    fi
    put_text "$1" root:root 0644 "${others:+$others
}root:$LXC_FIRST_ID:$LXC_IDS"
}

lxc_checks() {
    have lxc-ls || problem 'lxc-ls is missing' 'reinstall opennebula-node-lxc'
}

# Told, not demanded: without nbd the host runs containers from raw disks.
lxc_facts() { printf ', "missing_modules": %s' "$(json_string "$(lxc_absent_modules | one_line)")"; }
