#!/bin/sh
# Takes back what the other parts made, on a host that has left oned. Whoever could come back loses its access first.
#
# Touched are blocks between our marks, files and rules that bear our name, oneadmin's scripts and probes, and what stands
# in the record of what was made. Never libvirt, guests, their disks, datastores, or packages that were there before.

undo_preflight() {
    if ! bounded 30 getent passwd "$ONE_USER" >/dev/null; then
        say "there is no $ONE_USER: this host is not prepared, or the package was removed"
    fi
    guests=$(undo_processes '*qemu-system*' '*qemu-kvm*' | one_line)
    if have lxc-ls; then
        guests="$guests$(timeout 30 lxc-ls --running -1 2>/dev/null | grep '^one-' | one_line)"
    fi
    if [ -n "$guests" ]; then
        die "guests of OpenNebula run on it ($guests), though it has left oned" \
            'look with virsh -c qemu:///system list and lxc-ls on the host; move or end them, then run it again'
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

undo_mounts() {
    withdraw_mounts ''
    drop_block "$FSTAB"
    withdraw_directories ''
}

undo_firewall() {
    withdraw_firewalld ''
    if have ufw; then
        withdraw_ufw ''
    fi
    if have nft; then
        withdraw_nftables
    fi
    drop_block /etc/nftables.conf
    drop_block /etc/sysconfig/nftables.conf
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
    if [ -d /run/systemd/system ] && at_work apparmor.service; then
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
        elif have dpkg && limited 60 dpkg -s "$package"; then
            undo_remove dpkg --remove "$package"
        elif have rpm && limited 60 rpm -q "$package"; then
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
        bounded 60 rpm -q gpg-pubkey --qf '%{VERSION} %{VERSION}-%{RELEASE}\n' 2>/dev/null | awk -v all="$print" '{ short = toupper($1) }
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
