# shellcheck shell=sh
# Shared by the entrypoints of FireEdge, OneFlow and OneGate. Sourced, never run.
#
# These daemons log into files and know no other way that works in a pod. Here the files are streamed to standard output,
# where Kubernetes keeps them, and are kept small, because nobody else rotates them. Needs GNU coreutils and findutils.

AUTH=/var/lib/one/.one
LOG_DIR=/var/log/one
LOG_LIMIT_BYTES=${LOG_LIMIT_BYTES:-8388608}
LOGS_LIMIT_KIB=${LOGS_LIMIT_KIB:-131072}
LOG_PERIOD_SECONDS=${LOG_PERIOD_SECONDS:-1}
STOP_SECONDS=${STOP_SECONDS:-6}

say() { printf '%s %s: %s\n' "$(date -u +%FT%TZ)" "${0##*/}" "$*"; }

# The last words reach `kubectl describe` and the waits of `pulumi up` through the termination message.
fail() {
    say "ERROR: $*" >&2
    printf '%s\n' "$*" 2>/dev/null >/dev/termination-log || true
    exit 1
}

# need_auth NAME: the daemon's credential, one line USER:PASSWORD. Without it the daemon would start and serve nobody.
need_auth() {
    grep -q '^[^:]\{1,\}:.' "$AUTH/$1" 2>/dev/null ||
        fail "$AUTH/$1 holds no USER:PASSWORD. Next: look at the Secret that the pod's volume auth names (kubectl describe pods)"
}

# serve BASE COMMAND...: runs the daemon that logs into LOG_DIR/BASE.log, until it ends or SIGTERM comes.
serve() {
    base=$1
    shift
    # Everything before was streamed by an earlier run of this container; a restart begins with an empty file.
    rm -f "$LOG_DIR/$base".log "$LOG_DIR/$base"[0-9]*.log
    : >"$LOG_DIR/$base.log"

    stopping=
    signalled=
    "$@" &
    daemon=$!
    trap stop TERM INT
    logs "$daemon" "$base" &
    logs=$!

    # A signal ends `wait` early, and the daemon has not ended yet.
    while :; do
        code=0
        wait "$daemon" || code=$?
        [ -n "$signalled" ] || break
        signalled=
    done
    wait "$logs" || true
    if [ -n "$stopping" ] && [ "$code" -eq 143 ]; then code=0; fi
    say "$1 ended with code $code"
    exit "$code"
}

stop() {
    signalled=yes
    kill -TERM "$daemon" 2>/dev/null || true
    [ -z "$stopping" ] || return 0
    stopping=yes
    # A daemon that hangs must not eat up the pod's grace period: the logs' last lines come after its end.
    (
        left=$STOP_SECONDS
        while [ "$left" -gt 0 ] && kill -0 "$daemon" 2>/dev/null; do
            sleep 1 >/dev/null 2>&1
            left=$((left - 1))
        done
        kill -KILL "$daemon" 2>/dev/null || true
    ) &
}

# logs DAEMON BASE: streams BASE.log, and BASE1.log, BASE2.log … as soon as the daemon goes on there (FireEdge's logger
# starts a new file every 5 MB and never removes one). Ends after the daemon, with the last byte written.
logs() {
    trap : TERM INT
    number=
    log=$LOG_DIR/$2.log
    seen=0
    while kill -0 "$1" 2>/dev/null; do
        while advance "$LOG_DIR/$2"; do :; done
        stream
        bound
        sleep "$LOG_PERIOD_SECONDS" >/dev/null 2>&1
    done
    while advance "$LOG_DIR/$2"; do :; done
    stream
}

# Not `tail -F`: it would stream a log again that was made shorter, and nobody knows when it is done with a file.
stream() {
    size=$(stat -c %s "$log" 2>/dev/null) || size=0
    if [ "$size" -gt "$seen" ]; then
        tail -c "+$((seen + 1))" "$log" | head -c "$((size - seen))"
        seen=$size
    fi
}

# advance BASE: to the next file, if there is one. Then nothing more comes into the present one.
advance() {
    next=$((${number:-0} + 1))
    [ -e "$1$next.log" ] || return 1
    stream
    rm -f "$log"
    number=$next
    log=$1$next.log
    seen=0
}

# Daemons append, so the line after is the first of an emptied file. Of other files (OneFlow's, one a service) those that
# grew are emptied too, and when all together are too much the oldest go.
bound() {
    if [ "$seen" -gt "$LOG_LIMIT_BYTES" ]; then
        stream
        : >"$log"
        seen=0
    fi
    find "$LOG_DIR" -mindepth 2 -type f -size +"${LOG_LIMIT_BYTES}c" 2>/dev/null |
        while read -r file; do : >"$file"; done
    if [ "$(used)" -gt "$LOGS_LIMIT_KIB" ]; then
        find "$LOG_DIR" -mindepth 2 -type f -printf '%T@\t%p\n' 2>/dev/null | sort -n | cut -f 2- |
            while [ "$(used)" -gt "$LOGS_LIMIT_KIB" ] && read -r file; do rm -f "$file"; done
    fi
}

used() { du -sk "$LOG_DIR" 2>/dev/null | cut -f 1; }
