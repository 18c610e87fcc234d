#!/bin/sh
# What the host has: CPU in percent of a core, memory in KiB. Argument 1: driver.
set -eu

cores=$(grep -c ^processor /proc/cpuinfo)
speed=$(sed -n 's/^cpu MHz[^:]*: *\([0-9]*\).*/\1/p' /proc/cpuinfo | head -n 1)
memory=$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)

echo "HYPERVISOR=\"$1\""
echo "TOTALCPU=$((cores * 100))"
echo "CPUSPEED=${speed:-0}"
echo "TOTALMEMORY=$memory"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo 'CGROUPS_VERSION="2"'
elif [ -d /sys/fs/cgroup/memory ]; then
    echo 'CGROUPS_VERSION="1"'
fi
