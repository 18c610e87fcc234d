#!/bin/sh
# What the host uses now, CPU averaged over a fifth of a second. Argument 1: driver.
set -eu

# Total and idle ticks of all cores.
ticks() {
    awk '/^cpu / { for (i = 2; i <= 9; i++) total += $i; print total, $5 + $6 }' /proc/stat
}

cores=$(grep -c ^processor /proc/cpuinfo)
before=$(ticks)
sleep 0.2
after=$(ticks)
free=$(echo "$before $after" | awk -v cores="$cores" '
    { total = $3 - $1; idle = $4 - $2; print int(total > 0 ? cores * 100 * idle / total : cores * 100) }')

echo "HYPERVISOR=\"$1\""
awk '
    { value[$1] = $2 }
    END {
        used = value["MemTotal:"] - value["MemFree:"] - value["Buffers:"] - value["Cached:"]
        print "USEDMEMORY=" used "\nFREEMEMORY=" value["MemTotal:"] - used
    }' /proc/meminfo
echo "FREECPU=$free"
echo "USEDCPU=$((cores * 100 - free))"
awk -F '[: ]+' '
    $2 ~ /^(eth|en|em|ib)/ { received += $3; sent += $11 }
    END { printf "NETRX=%d\nNETTX=%d\n", received, sent }' /proc/net/dev
