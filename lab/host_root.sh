#!/bin/sh
# Finishes the hosts' file system: ROOT LOGIN UID. Run outside of it, as root.
set -eu
root=$1
login=$2
uid=$3

chroot "$root" useradd --uid "$uid" --user-group --create-home --shell /bin/bash --password '*' "$login"
printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$login" >"$root/etc/sudoers.d/$login"
chmod 0440 "$root/etc/sudoers.d/$login"

# Keys only, each host has one of its own; without PAM sshd refuses a locked account even with the right key.
rm -f "$root"/etc/ssh/ssh_host_*
cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<'CONFIG'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
CONFIG

# No init system runs here: packages must not try to start anything.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"

# No package source until the host is prepared, no lists of one, no waiting for the disk.
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/var/lib/apt/lists/*
printf 'force-unsafe-io\n' >"$root/etc/dpkg/dpkg.cfg.d/lab"
printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n' >"$root/etc/apt/apt.conf.d/99lab"

: >"$root/etc/machine-id"
: >"$root/etc/resolv.conf"
