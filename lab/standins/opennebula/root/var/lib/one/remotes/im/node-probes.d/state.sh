#!/bin/sh
# shellcheck disable=SC1091,SC2154 # sourced from beside it, on a host
# States of this host's machines: those that changed, and all of them whenever a full report is due. A machine whose
# process is gone is reported once. Arguments: driver, host id.
set -eu

. "$(dirname "$0")/../../../../vmm/lib/machines.sh"
known=/var/tmp/one_db/states_$1_$2
stamp=/var/tmp/one_db/status_$1_$2
mkdir -p "$known"

period=$(sed -n 's:.*<SYNC_STATE_VM>[^0-9]*\([0-9]*\).*:\1:p')
now=$(date +%s)
last=0
if [ -r "$stamp" ]; then
    last=$(cat "$stamp")
fi
full=no
if [ $((now - last)) -gt "${period:-180}" ]; then
    full=yes
    echo "$now" >"$stamp"
    echo 'SYNC_STATE=yes'
    echo 'MISSING_STATE=POWEROFF'
fi

report() {
    echo "VM = [ ID=\"$1\", DEPLOY_ID=\"one-$1\", STATE=\"$2\" ]"
}

for file in "$machines"/*.pid; do
    [ -r "$file" ] || continue
    id=$(basename "$file" .pid)
    if machine_pid "one-$id" >/dev/null; then
        if [ "$full" = yes ] || [ ! -e "$known/$id" ]; then
            report "$id" RUNNING
        fi
        : >"$known/$id"
    fi
done
for file in "$known"/*; do
    [ -e "$file" ] || continue
    id=$(basename "$file")
    if ! machine_pid "one-$id" >/dev/null; then
        report "$id" POWEROFF
        rm -f "$file"
    fi
done
