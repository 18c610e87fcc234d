#!/bin/sh
# Takes back what the other parts made, on a host that has left oned. Whoever could come back loses its access first.
#
# Touched are blocks between our marks, files and rules that bear our name, oneadmin's scripts and probes, and what stands
# in the record of what was made. Never libvirt, guests, their disks, datastores, or packages that were there before.

undo_preflight() {
    if ! getent passwd "$ONE_USER" >/dev/null; then
        say "there is no $ONE_USER: this host is not prepared, or the package was removed"
    fi
    guests=$(undo_processes '*qemu-system*' '*qemu-kvm*' | one_line)
    if command -v lxc-ls >/dev/null; then
        guests="$guests$(timeout 30 lxc-ls --running -1 2>/dev/null | grep '^one-' | one_line)"
    fi
    if [ -n "$guests" ]; then
        die "guests of OpenNebula run on it ($guests), though it has left oned" \
            'look with virsh -c qemu:///system list and lxc-ls on the host; move or end them, then run it again'
    fi
}

# recorded KIND: what was made of this kind, one a line.
recorded() { sed -n "s/^$1 //p" "$MADE" 2>/dev/null || true; }

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

undo_access() {
    drop_block "$ONE_SSH/authorized_keys"
    drop_block "$ONE_SSH/config"
    for file in known_hosts_control_plane known_hosts_hypervisors config_hypervisors; do
        drop_file "$ONE_SSH/$file"
    done
}

# Sessions that are open still (they last beyond a lost key), and the probes that such a session has started.
undo_probes() {
    undo_end 'sshd: oneadmin*' 'sshd-session: oneadmin*'
    undo_end '*/im/*.d/monitord-client*'
    # anybody may make a name in /tmp
    for file in /tmp/one-monitord-*; do
        if [ -f "$file" ] && [ ! -L "$file" ] && [ "$(stat -c %u "$file" 2>/dev/null)" = "$ONE_ID" ]; then
            drop_file "$file"
        fi
    done
}

# undo_processes PATTERN...: oneadmin's processes whose command line is like one of these, except those
# that we run under and our own.
undo_processes() {
    find /proc -maxdepth 1 -name '[0-9]*' -user "$ONE_ID" 2>/dev/null | while read -r place; do
        words=$(tr '\0' ' ' 2>/dev/null <"$place/cmdline") || continue
        for like in "$@"; do
            # shellcheck disable=SC2254 # a pattern
            case $words in
                $like)
                    if ! undo_above "${place#/proc/}" "$$" && ! undo_above "$$" "${place#/proc/}"; then
                        printf '%s\n' "${place#/proc/}"
                    fi
                    break
                    ;;
            esac
        done
    done
}

# undo_above NUMBER OTHER: whether the other process is that one or runs under it.
undo_above() {
    below=$2
    while [ "${below:-0}" -gt 1 ]; do
        if [ "$below" = "$1" ]; then
            return 0
        fi
        below=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$below/status" 2>/dev/null)
    done
    return 1
}

undo_end() {
    signal=TERM
    tries=0
    while found=$(undo_processes "$@") && [ -n "$found" ]; do
        tries=$((tries + 1))
        case $tries in
            1) changed ;;
            50) signal=KILL ;;
            100) die "processes of $ONE_USER do not end: $(printf '%s' "$found" | one_line)" 'ps on the host, then run it again' ;;
        esac
        # shellcheck disable=SC2086 # numbers
        kill -s "$signal" $found 2>/dev/null || true
        sleep 0.1
    done
}

undo_directories() {
    for directory in /var/tmp/one /var/tmp/one_db; do
        if [ -d "$directory" ] && [ ! -L "$directory" ]; then
            owner=$(stat -c %U "$directory")
            if [ "$owner" = "$ONE_USER" ]; then
                rm -rf --one-file-system "$directory"
                changed
            else
                say "$directory stays: it belongs to $owner"
            fi
        fi
    done
}

# Only what our block in fstab mounts, and only from there. Data is the server's; a directory is removed when it is empty.
undo_mounts() {
    lines=$(sed -n "\\|^$BLOCK_BEGIN\$|,\\|^$BLOCK_END\$|p" /etc/fstab 2>/dev/null | grep -v '^#' || true)
    while read -r source target _; do
        mounted=$(awk -v target="$target" '$2 == target { found = $1 } END { print found }' /proc/mounts)
        if [ -n "$target" ] && [ "$mounted" = "$source" ]; then
            limited 60 umount "$target" ||
                die "$target cannot be unmounted: $(last_words)" "fuser -vm $target on the host, then run it again"
            changed
        fi
    done <<MOUNTS
$lines
MOUNTS
    drop_block /etc/fstab
    recorded directory | while read -r target; do
        rmdir "$target" 2>/dev/null || true
    done
}

undo_firewall() {
    recorded firewalld >"$WORK/rules"
    while read -r rule; do
        undo_firewalld "$rule"
    done <"$WORK/rules"
    if command -v ufw >/dev/null; then
        undo_listed 'ufw show added'
        # as it prints them: ufw allow from NETWORK to any port PORTS proto tcp comment 'opennebula'
        sed -n "s/^ufw \(allow .*\) comment 'opennebula'\$/\1/p" "$WORK/listed" >"$WORK/rules"
        while read -r rule; do
            # shellcheck disable=SC2086 # words
            limited 60 ufw --force delete $rule || die "ufw does not delete a rule of ours: $(last_words)" "ufw delete $rule on the host"
            changed
        done <"$WORK/rules"
    fi
    undo_nftables
    drop_block /etc/nftables.conf
    drop_block /etc/sysconfig/nftables.conf
}

# undo_listed COMMAND: what it prints, in $WORK/listed. A list that is not told must not pass for an empty one.
undo_listed() {
    printf '+ %s\n' "$1" >>"$LOG"
    # shellcheck disable=SC2086 # words
    timeout 30 $1 >"$WORK/listed" 2>>"$LOG" </dev/null 9>&- ||
        die "$1 does not tell its rules: $(last_words)" "$1 on the host; mend what it says, then run it again"
}

undo_firewalld() {
    if command -v firewall-cmd >/dev/null && [ "$(timeout 30 firewall-cmd --state 2>&1)" = running ]; then
        undo_rich_rule "$1" firewall-cmd --permanent
        undo_rich_rule "$1" firewall-cmd
    elif command -v firewall-offline-cmd >/dev/null; then
        undo_rich_rule "$1" firewall-offline-cmd
    fi
}

# undo_rich_rule RULE COMMAND...: a query ends with 1 for a rule that is not there, and otherwise when it does not know.
undo_rich_rule() {
    rich=$1
    shift
    if limited 60 "$@" "--query-rich-rule=$rich"; then
        limited 60 "$@" "--remove-rich-rule=$rich" ||
            die "firewalld keeps a rule of ours: $(last_words)" "$* --remove-rich-rule='$rich' on the host"
        changed
    elif [ $? -ne 1 ]; then
        die "firewalld does not tell whether it has a rule of ours: $(last_words)" "$* --query-rich-rule='$rich' on the host"
    fi
}

undo_nftables() {
    if ! command -v nft >/dev/null; then
        return 0
    fi
    undo_listed 'nft -a list ruleset'
    awk '
        $1 == "table" { table = $2 " " $3 }
        $1 == "chain" { chain = $2 }
        / comment "opennebula" # handle [0-9]+$/ { print table, chain, "handle", $NF }' "$WORK/listed" >"$WORK/rules"
    while read -r rule; do
        # shellcheck disable=SC2086 # words
        limited 30 nft delete rule $rule || die "nftables keeps a rule of ours: $(last_words)" "nft delete rule $rule on the host"
        changed
    done <"$WORK/rules"
}

undo_confinement() {
    before=$CHANGES
    CHANGES=''
    for file in libvirt-qemu.d/opennebula libvirt-qemu; do
        drop_block "/etc/apparmor.d/abstractions/$file"
    done
    drop_block /etc/apparmor.d/local/abstractions/libvirt-qemu
    if [ -z "$CHANGES" ]; then
        CHANGES=$before
        return 0
    fi
    CHANGES=$before
    changed
    if [ -d /run/systemd/system ] && timeout 20 systemctl --quiet is-active apparmor.service; then
        limited 90 systemctl reload apparmor.service ||
            die "AppArmor does not take its profiles: $(last_words)" 'systemctl status apparmor on the host'
    fi
}

# The package itself, with nothing that it had brought along: dpkg and rpm remove what they are told, and refuse when
# something else needs it.
undo_package() {
    recorded package >"$WORK/packages"
    while read -r package; do
        if [ -z "$PLAN_UNINSTALL" ]; then
            say "$package stays installed"
        elif command -v dpkg >/dev/null && dpkg -s "$package" >/dev/null 2>&1; then
            undo_remove dpkg --remove "$package"
        elif command -v rpm >/dev/null && rpm -q "$package" >/dev/null 2>&1; then
            undo_remove rpm --erase "$package"
        fi
    done <"$WORK/packages"
}

# Another package manager at work is waited for, as when it was installed. Nobody is asked anything.
undo_remove() {
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    until_time=$(($(date +%s) + PLAN_LOCK_WAIT))
    while :; do
        : >"$LOG"
        if limited 600 "$@" </dev/null; then
            break
        fi
        if ! grep -qiE 'lock' "$LOG" || [ "$(date +%s)" -ge "$until_time" ]; then
            die "$3 cannot be removed: $(last_words)" "$* on the host, or set onRemoval: clean"
        fi
        sleep 1
    done
    changed
}

undo_source() {
    recorded file >"$WORK/files"
    while read -r file; do
        drop_file "$file"
    done <"$WORK/files"
    recorded rpm-key >"$WORK/keys"
    while read -r print; do
        rpm -q gpg-pubkey --qf '%{VERSION} %{VERSION}-%{RELEASE}\n' 2>/dev/null | awk -v all="$print" '{ short = toupper($1) }
            length(short) >= 8 && substr(all, length(all) - length(short) + 1) == short { print $2 }' >"$WORK/trusted"
        while read -r key; do
            limited 60 rpm --erase "gpg-pubkey-$key" ||
                die "rpm keeps the repository's key: $(last_words)" "rpm --erase gpg-pubkey-$key on the host"
            changed
        done <"$WORK/trusted"
    done <"$WORK/keys"
}

# What is still there of what we made, a package alone, stays in the record.
undo_record() {
    rest=$(grep '^package ' "$MADE" 2>/dev/null || true)
    if [ -n "$rest" ] && [ -z "$PLAN_UNINSTALL" ]; then
        put_text "$MADE" root:root 0644 "$rest"
    else
        drop_file "$MADE"
    fi
    drop_file /var/lib/one-bootstrap.unfinished
}

undo() {
    if [ "$(id -u)" -ne 0 ]; then
        die 'this must run as root' 'give the login user passwordless sudo'
    fi
    begin
    record=false
    if [ -e "$MADE" ]; then
        record=true
    fi
    for each_step in preflight access probes directories mounts firewall confinement package source record; do
        step "$each_step"
        "undo_$each_step"
    done
    if [ "$record$CHANGES" = false ]; then
        say 'nothing of a preparation was found: the system was installed anew, or all was taken back before'
    fi
    printf '{"host": %s, "record": %s, "changes": [%s]}\n' "$(json_string "$PLAN_NAME")" "$record" \
        "$(printf '%s' "$CHANGES" | sed 's/[^ ][^ ]*/"&"/g; s/ /, /g')"
}
