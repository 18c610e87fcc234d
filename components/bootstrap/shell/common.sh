#!/bin/sh
# What every step uses: messages, limits, files written by rename.
#
# The script is one text: values of the plan (PLAN_*), these parts, then one call of main. Nothing runs before that
# last line, so a text cut off on its way does nothing. It knows neither OpenNebula nor an OS family; those follow.
set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

WORK=/run/one-bootstrap
LOCK=/run/one-bootstrap.lock
LOG=$WORK/log
STEP=start
CHANGES=''
PROBLEMS=''
REMEDIES=''
EXPLAINED=''
LOCKED='' # the work directory belongs to the run that holds the lock

say() { printf 'one-bootstrap: %s\n' "$1"; }

step() {
    STEP=$1
    say "$STEP"
}

changed() {
    case " $CHANGES " in
        *" $STEP "*) ;;
        *) CHANGES="${CHANGES:+$CHANGES }$STEP" ;;
    esac
}

have() { command -v "$1" >/dev/null; }

# at_work UNIT: for systemd, where it runs.
at_work() { timeout 20 systemctl --quiet is-active "$1"; }

# Output of other programs, made fit for one line of ours.
one_line() { tr -s '[:cntrl:][:space:]' ' ' | sed 's/^ //; s/ $//' | cut -c1-600; }

# die CAUSE NEXT: the one line that an operator reads.
die() {
    EXPLAINED=yes
    printf 'one-bootstrap: %s: %s: %s; next: %s\n' "$PLAN_NAME" "$STEP" "$1" "$2" >&2
    exit 1
}

# problem CAUSE NEXT: remember it, so that `settle` can tell all of them at once.
problem() {
    PROBLEMS="${PROBLEMS:+$PROBLEMS | }$1"
    REMEDIES="${REMEDIES:+$REMEDIES | }$2"
}

settle() {
    if [ -n "$PROBLEMS" ]; then
        die "$PROBLEMS" "$REMEDIES"
    fi
}

on_exit() {
    code=$?
    trap - EXIT
    if [ -n "$LOCKED" ]; then
        if [ -s "$WORK/overdue" ]; then
            EXPLAINED=yes code=1
            cat "$WORK/overdue" >&2
        fi
        rm -rf "$WORK"
    fi
    if [ "$code" -ne 0 ] && [ -z "$EXPLAINED" ]; then
        printf 'one-bootstrap: %s: %s: stopped with exit code %s before it was done; next: %s\n' \
            "$PLAN_NAME" "$STEP" "$code" 'run it again: every step can be repeated' >&2
    fi
    exit "$code"
}

# Only one run a host at a time. The kernel drops the lock when the holder dies, so a killed run leaves nothing to clean.
begin() {
    trap on_exit EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    exec 9>"$LOCK"
    if ! flock -w "$PLAN_LOCK_WAIT" 9; then
        die "another run has been at work for more than $PLAN_LOCK_WAIT s" "fuser -v $LOCK on the host"
    fi
    LOCKED=yes
    rm -rf "$WORK"
    mkdir -m 0700 "$WORK"
}

# limited SECONDS COMMAND...: output goes to the log; daemons that it starts do not inherit our lock.
limited() {
    limit=$1
    shift
    printf '+ %s\n' "$*" >>"$LOG"
    ended=0
    timeout -k 10 "$limit" "$@" </dev/null >>"$LOG" 2>&1 9>&- || ended=$?
    case $ended in
        124 | 137) printf 'it was not done within %s s\n' "$limit" >>"$LOG" ;;
    esac
    return "$ended"
}

# bounded SECONDS COMMAND...: for questions; what is answered is the caller's. An answer that is overdue must not pass for
# another one: it ends the run, from within $(...) and pipes as well.
bounded() {
    limit=$1
    shift
    ended=0
    timeout -k 5 "$limit" "$@" 9>&- || ended=$?
    case $ended in
        124 | 137)
            printf 'one-bootstrap: %s: %s: %s was not done within %s s; next: %s\n' "$PLAN_NAME" "$STEP" "$1" "$limit" \
                "'$(printf '%s' "$*" | one_line)' on the host, and see what it waits for" >"$WORK/overdue"
            kill -s TERM $$ # the run itself, in a subshell too
            exit 143
            ;;
    esac
    return "$ended"
}

# What the last command said at its end.
last_words() {
    awk '/^\+ / { many = 0; next } { line[many++] = $0 } END { for (at = many > 3 ? many - 3 : 0; at < many; at++) print line[at] }' \
        "$LOG" | one_line
}

same_text() { [ -f "$1" ] && [ ! -L "$1" ] && printf '%s\n' "$2" | cmp -s - "$1"; }

# unwritten FILE WORDS: with what the program said that could not write it.
unwritten() {
    die "$1 cannot be written: $(printf '%s' "$2" | one_line)" "see 'df $(dirname "$1")' on the host, make room, then run it again"
}

# place FILE COMMAND...: makes FILE or a directory; a disk that is full is told as one.
place() {
    placed=$1
    shift
    why=$("$@" 2>&1) || unwritten "$placed" "$why"
}

# put_text FILE OWNER:GROUP MODE TEXT: the whole file is TEXT; readers see the old or the new one, never half, and after a power cut
# one of the two: XFS does not write a file before its new name.
put_text() {
    if [ -L "$1" ]; then
        die "$1 is a symbolic link" "replace it by a plain file"
    fi
    if same_text "$1" "$4" && [ "$(stat -c '%U:%G %a' "$1")" = "$2 ${3#0}" ]; then
        return 0
    fi
    draft=$(dirname "$1")/.$(basename "$1").one-bootstrap
    rm -f "$draft"
    # cat says why, for a full disk as for a read-only one; the shell's own printf does not
    if ! why=$(printf '%s\n' "$4" | cat 2>&1 >"$draft" && sync "$draft" 2>&1); then
        rm -f "$draft"
        unwritten "$1" "$why"
    fi
    chown "$2" "$draft"
    chmod "$3" "$draft"
    mv -f "$draft" "$1"
    changed
}

drop_file() {
    if [ -e "$1" ] || [ -L "$1" ]; then
        rm -f "$1"
        changed
    fi
}

# What we made that bears no mark of ours. A host that leaves the configuration may give it back (undo.sh).
MADE=/var/lib/one-bootstrap.made

# put_record TEXT: whole, by rename: of half a line nobody would know whose it is. A note is no change of the host.
put_record() {
    if [ -z "$1" ]; then
        rm -f "$MADE"
        return 0
    fi
    changes=$CHANGES
    put_text "$MADE" "$(id -u):$(id -g)" 0644 "$1"
    place "$MADE" sync "$(dirname "$MADE")"
    CHANGES=$changes
}

# made KIND THING: noted before it is made, so that no power cut makes it nobody's.
made() {
    if ! is_made "$1" "$2"; then
        put_record "$(awk 1 "$MADE" 2>/dev/null || true; printf '%s %s' "$1" "$2")"
    fi
}

is_made() { grep -qxF "$1 $2" "$MADE" 2>/dev/null; }

# unmade KIND THING: when it is gone.
unmade() {
    if is_made "$1" "$2"; then
        put_record "$(grep -vxF "$1 $2" "$MADE" || true)"
    fi
}

# recorded KIND: what was made of this kind, one a line.
recorded() { sed -n "s/^$1 //p" "$MADE" 2>/dev/null || true; }

# made_file FILE: before it is written; one that is there is somebody's, or noted already.
made_file() { [ -e "$1" ] || [ -L "$1" ] || made file "$1"; }

BLOCK_BEGIN='# BEGIN opennebula control plane (kept by one-bootstrap)'
BLOCK_END='# END opennebula control plane'

# without_block FILE: its lines except our block.
without_block() {
    awk -v begin="$BLOCK_BEGIN" -v end="$BLOCK_END" '
        $0 == begin { inside = 1; next }
        inside && $0 == end { inside = 0; next }
        !inside { print }
        END { exit inside }
    ' "$1"
}

# put_block FILE OWNER:GROUP MODE top|bottom TEXT: our block holds TEXT (nothing: no block), other lines stay.
put_block() {
    others=''
    if [ -L "$1" ]; then
        die "$1 is a symbolic link" "replace it by a plain file"
    fi
    if [ -e "$1" ]; then
        others=$(without_block "$1") || die "$1 has our first marker line but not the last" \
            "mend $1 by hand: the block ends with the line '$BLOCK_END'"
    elif [ -z "$5" ]; then
        return 0
    fi
    block=''
    if [ -n "$5" ]; then
        block=$(printf '%s\n%s\n%s' "$BLOCK_BEGIN" "$5" "$BLOCK_END")
    fi
    if [ -z "$others" ]; then
        whole=$block
    elif [ -z "$block" ]; then
        whole=$others
    elif [ "$4" = top ]; then
        whole=$(printf '%s\n%s' "$block" "$others")
    else
        whole=$(printf '%s\n%s' "$others" "$block")
    fi
    put_text "$1" "$2" "$3" "$whole"
}

json_string() { printf '"%s"' "$(printf '%s' "$1" | tr -d '[:cntrl:]' | sed 's/\\/\\\\/g; s/"/\\"/g')"; }
