#!/bin/sh
# What is ours and no longer wanted goes: firewall rules, and NFS mounts. The preparation says what is wanted, undo nothing.
#
# Ours are rules that bear our name or stand in the record, and mounts of our block in fstab. What is not ours stays.

# listed COMMAND: what it prints, in $WORK/listed. A list that is not told must not pass for an empty one.
listed() {
    printf '+ %s\n' "$1" >>"$LOG"
    # shellcheck disable=SC2086 # words
    timeout 30 $1 >"$WORK/listed" 2>>"$LOG" </dev/null 9>&- ||
        die "$1 does not tell its rules: $(last_words)" "$1 on the host; mend what it says, then run it again"
}

# withdraw_firewalld WANTED: recorded rules that WANTED, one a line, does not name. The record lasts until the rule is gone.
withdraw_firewalld() {
    recorded firewalld >"$WORK/rules"
    while read -r rule; do
        if ! printf '%s\n' "$1" | grep -qxF "$rule" && withdraw_rule "$rule"; then
            unmade firewalld "$rule"
        fi
    done <"$WORK/rules"
}

# withdraw_rule [ZONE ]RULE: without a zone it is the default one's. 1: there is no firewalld to ask.
withdraw_rule() {
    zone=''
    case $1 in
        'rule '*) ;;
        *) zone=--zone=${1%% *} ;;
    esac
    set -- "rule ${1#*rule }"
    if have firewall-cmd && [ "$(timeout 30 firewall-cmd --state 2>&1)" = running ]; then
        withdraw_rich_rule "$1" firewall-cmd --permanent
        withdraw_rich_rule "$1" firewall-cmd
    elif have firewall-offline-cmd; then
        withdraw_rich_rule "$1" firewall-offline-cmd
    else
        return 1
    fi
}

# withdraw_rich_rule RULE COMMAND...: a query ends with 1 for a rule that is not there, with 112 for a zone, and otherwise when it does
# not know.
withdraw_rich_rule() {
    rich=$1 unknown=0
    shift
    # shellcheck disable=SC2086 # an option or nothing
    set -- "$@" $zone
    limited 60 "$@" "--query-rich-rule=$rich" || unknown=$?
    case $unknown in
        0)
            limited 60 "$@" "--remove-rich-rule=$rich" ||
                die "firewalld keeps a rule of ours: $(last_words)" "$* --remove-rich-rule='$rich' on the host"
            changed
            ;;
        1 | 112) ;;
        *) die "firewalld does not tell whether it has a rule of ours: $(last_words)" "$* --query-rich-rule='$rich' on the host" ;;
    esac
}

# withdraw_ufw WANTED: of what `ufw show added` lists, and in its words without the comment.
withdraw_ufw() {
    listed 'ufw show added'
    sed -n "s/^ufw \(allow .*\) comment 'opennebula'\$/\1/p" "$WORK/listed" >"$WORK/rules"
    while read -r rule; do
        if ! printf '%s\n' "$1" | grep -qxF "$rule"; then
            # shellcheck disable=SC2086 # words
            limited 60 ufw --force delete $rule || die "ufw does not delete a rule of ours: $(last_words)" "ufw delete $rule on the host"
            changed
        fi
    done <"$WORK/rules"
}

# nftables_ours FILE: of `nft -a list ruleset`, a line a rule of ours: MARK FAMILY TABLE CHAIN HANDLE.
nftables_ours() {
    awk '
        $1 == "table" { table = $2 " " $3 }
        $1 == "chain" { chain = $2 }
        / comment "opennebula( [0-9]+)?" # handle [0-9]+$/ {
            match($0, /comment "opennebula[ 0-9]*"/)
            mark = substr($0, RSTART + 19, RLENGTH - 20)
            sub(/^ /, "", mark)
            print (mark == "" ? "-" : mark), table, chain, $NF
        }' "$1"
}

withdraw_nftables() {
    listed 'nft -a list ruleset'
    nftables_ours "$WORK/listed" >"$WORK/rules"
    while read -r _ family table chain handle; do
        limited 30 nft delete rule "$family" "$table" "$chain" handle "$handle" ||
            die "nftables keeps a rule of ours: $(last_words)" "nft delete rule $family $table $chain handle $handle on the host"
        changed
    done <"$WORK/rules"
}

# drop_block FILE: our block goes, other lines stay; a file that had nothing else goes too.
drop_block() {
    if [ -L "$1" ] || [ ! -f "$1" ] || ! grep -qxF "$BLOCK_BEGIN" "$1"; then
        return 0
    fi
    others=$(without_block "$1") || die "$1 has our first marker line but not the last" \
        "mend $1 by hand: the block ends with the line '$BLOCK_END'"
    if [ -n "$others" ]; then
        put_text "$1" "$(stat -c %U:%G "$1")" "$(stat -c %a "$1")" "$others"
    else
        drop_file "$1"
    fi
}

# mounts_ours: the lines of our block in fstab, with sources as the kernel shows them.
mounts_ours() { sed -n "\\|^$BLOCK_BEGIN\$|,\\|^$BLOCK_END\$|p" "$FSTAB" 2>/dev/null | grep -v '^#' | sed 's|\([^:]\)/* |\1 |' || true; }

# mounted_from TARGET: what is mounted there, the uppermost; nothing, if nothing is.
mounted_from() { awk -v target="$1" '$2 == target { found = $1 } END { print found }' "$MOUNTS"; }

# withdraw_mounts WANTED: what our block mounts and WANTED, a line a mount: SOURCE TARGET, does not name; what lies below another
# one first. The block stays as it is until they are gone, so that a mount in use loses nothing. Data is the server's.
withdraw_mounts() {
    mounts_ours | sort -r -k 2,2 >"$WORK/mounts"
    while read -r source target _; do
        if printf '%s\n' "$1" | grep -qxF "$source $target"; then
            continue
        fi
        if [ "$(mounted_from "$target")" = "$source" ]; then
            if is_made found-mount "$source $target"; then
                say "$target stays mounted from $source, as it was before"
            else
                withdraw_mount "$target"
            fi
        fi
    done <"$WORK/mounts"
}

withdraw_mount() {
    limited 60 umount "$1" ||
        die "$1 cannot be unmounted: $(last_words)" "fuser -vm $1 on the host, then run it again"
    changed
}

# withdraw_directories WANTED, a target a line: those that we made, if they are empty.
withdraw_directories() {
    recorded directory >"$WORK/directories"
    while read -r target; do
        if ! printf '%s\n' "$1" | grep -qxF "$target" && [ -z "$(mounted_from "$target")" ]; then
            rmdir "$target" 2>/dev/null || true
            unmade directory "$target"
        fi
    done <"$WORK/directories"
    recorded found-mount >"$WORK/directories"
    while read -r source target; do
        if ! printf '%s\n' "$1" | grep -qxF "$target"; then
            unmade found-mount "$source $target"
        fi
    done <"$WORK/directories"
}

FSTAB=/etc/fstab
MOUNTS=/proc/mounts
