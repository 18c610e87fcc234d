# shellcheck shell=sh
# Sourced by the first process of a machine of the lab: connects its network namespace to a bridge of the box.

box=/proc/1/ns/net # process 1 of the box

# INTERFACE HARDWARE ADDRESS/PREFIX GATEWAY BRIDGE: the end at the bridge, then what the machine's eth0 gets.
attach() {
    nsenter --net="$box" -- ip link delete "$1" 2>/dev/null || true # of a machine that was just killed
    ip link add eth0 type veth peer name "$1" netns "$box"
    nsenter --net="$box" -- ip link set "$1" master "$5" up
    ip link set eth0 address "$2"
    ip link set lo up
    ip address add "$3" dev eth0
    ip link set eth0 up
    ip route add default via "$4"
}
