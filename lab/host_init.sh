#!/bin/sh
# First process of a hypervisor host: NAME PLACE INTERFACE HARDWARE ADDRESS/PREFIX GATEWAY BRIDGE BRIDGE-HARDWARE.
#
# Started in namespaces of its own, with the box's /proc still in sight. Connects the host to the bridge, goes into its
# file system (PLACE/upper over PLACE/lower) and leaves an SSH server under an init that collects dead children.
set -eu
name=$1
place=$2
interface=$3
hardware=$4
address=$5
gateway=$6
bridge=$7
bridge_hardware=$8

# shellcheck source=lab/attach.sh
. "${0%/*}/attach.sh"

hostname "$name"
# a bridge without an address of its own changes it with its ports, and the other hosts lose their gateway for a while
nsenter --net="$box" -- ip link set "$bridge" address "$bridge_hardware"
attach "$interface" "$hardware" "$address" "$gateway" "$bridge"

cd "$place" # short names: a path may hold characters that separate mount options
root=$place/root
mkdir -p root work
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 -o ro cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755,size=64m tmpfs "$root/run"
mount -t tmpfs -o mode=0755,size=1m tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    cp -a "/dev/$device" "$root/dev/$device"
done
# a hypervisor has virtualisation; nothing of the lab opens it, and its number alone gives nobody any
mknod -m 0660 "$root/dev/kvm" c 10 232
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"

cd "$root"
pivot_root . mnt
cd /
umount -l /mnt
mkdir -m 1777 /run/lock
mkdir /run/sshd
# what systemd does at boot for packages that want directories in /run
if [ -e /usr/lib/tmpfiles.d/opennebula-common.conf ]; then
    systemd-tmpfiles --create opennebula-common.conf
fi
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    tini -- /usr/sbin/sshd -D -e
