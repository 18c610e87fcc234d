#!/bin/sh
# First and only process of the directory server: ROOT INTERFACE HARDWARE ADDRESS/PREFIX GATEWAY BRIDGE COMMAND...
#
# Started in a network namespace of its own, so that packets from pods reach it as they reach any machine outside of the
# cluster. Connects itself to the bridge and becomes slapd, run by the loader of its own Debian root.
set -eu
root=$1
interface=$2
hardware=$3
address=$4
gateway=$5
bridge=$6
shift 6

# shellcheck source=lab/attach.sh
. "${0%/*}/attach.sh"

attach "$interface" "$hardware" "$address" "$gateway" "$bridge"

# slapd makes a table as long as the limit of open files, which may be a thousand million.
library=$root/usr/lib/x86_64-linux-gnu
exec env -i LDAPNOINIT=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin prlimit --nofile=1024 -- \
    "$root/lib64/ld-linux-x86-64.so.2" --library-path "$library" "$root/usr/sbin/slapd" "$@"
