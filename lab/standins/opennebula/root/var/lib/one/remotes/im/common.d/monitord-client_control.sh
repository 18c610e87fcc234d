#!/bin/sh
# Starts or stops the probe client of one host id. Arguments: [stop] driver, host id, host name; configuration on stdin.
# The client answers on stdout once and goes into the background; what it complains about while it starts stays in
# /tmp/one-monitord-<id>.error.
set -eu

action=start
if [ "$1" = stop ]; then
    action=stop
    shift
fi

id=$2
client=$(pwd)/monitord-client.rb
pid_file=/tmp/one-monitord-$id.pid
error_file=/tmp/one-monitord-$id.error

# Also one that is only starting and has no pid file yet. Arguments of a process are separated by zero bytes, which the dots
# stand for; processes come and go while they are looked at.
for found in $(LC_ALL=C grep -als "monitord-client.rb.$1.$id.$3.\$" /proc/[0-9]*/cmdline || true); do
    process=${found#/proc/}
    kill -9 "${process%/cmdline}" 2>/dev/null || true
done
rm -f "$pid_file"

if [ "$action" = stop ]; then
    exit 0
fi

if ! ruby "$client" "$@" 2>"$error_file"; then
    cat "$error_file" >&2
    exit 1
fi
