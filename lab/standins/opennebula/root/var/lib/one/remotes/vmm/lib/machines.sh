# shellcheck shell=sh
# Sourced by the scripts beside it: where this host notes its machines, and how one ends.

machines=/var/tmp/one_db/machines

# Whether process $1 lives; one that nobody collected does not.
alive() {
    case $(sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null) in
    '' | Z*) return 1 ;;
    esac
}

# Process id of machine $1 (`one-<id>`); fails when it does not run.
machine_pid() {
    file=$machines/${1#one-}.pid
    [ -r "$file" ] || return 1
    pid=$(cat "$file")
    alive "$pid" || return 1
    echo "$pid"
}

# End machine $1 with signal $2 and wait until it is gone, ten seconds at most.
end_machine() {
    pid=$(machine_pid "$1") || return 0
    kill "-$2" "$pid"
    tries=0
    while alive "$pid"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ]; then
            echo "Machine $1 (process $pid) does not end" >&2
            return 1
        fi
        sleep 0.1
    done
    rm -f "$machines/${1#one-}.pid"
}
