#!/bin/sh
# Where a firewall runs it stays on, and lets in what hypervisors need: consoles, and the data of live migrations.
#
# ssh is open already, or this script would not be here. libvirt's own ports (16509, 16514) stay shut: OpenNebula migrates
# by qemu+ssh. A host without a firewall gets none. PLAN_SOURCES are the networks that may: consoles have no password
# unless a guest sets one, so nobody is let in unnamed.

FIREWALL_MIGRATION=49152-49215

firewall_ranges() {
    if [ "$PLAN_KIND" = kvm ]; then
        printf '%s\n%s\n' "$PLAN_CONSOLES" "$FIREWALL_MIGRATION"
    else
        printf '%s\n' "$PLAN_CONSOLES"
    fi
}

firewall_at_work() {
    if command -v firewall-cmd >/dev/null && [ "$(timeout 30 firewall-cmd --state 2>&1)" = running ]; then
        printf firewalld
    elif command -v ufw >/dev/null && timeout 30 ufw status 2>/dev/null | grep -q '^Status: active'; then
        printf ufw
    elif [ -d /run/systemd/system ] && command -v nft >/dev/null && timeout 20 systemctl --quiet is-active nftables.service; then
        printf nftables
    fi
}

firewall_preflight() {
    at_work=$(firewall_at_work)
    if [ -n "$at_work" ] && [ -z "$PLAN_SOURCES" ]; then
        problem "$at_work is at work, and the config names no network that may reach consoles and migrations" \
            "set preparation.firewall.sources (0.0.0.0/0 for all), or preparation.firewall.manage: false"
    fi
}

firewall() {
    case $(firewall_at_work) in
        firewalld) firewall_each firewall_firewalld ;;
        ufw) firewall_each firewall_ufw ;;
        nftables) firewall_nftables ;;
    esac
}

# firewall_each COMMAND: with every range and every network that may
firewall_each() {
    for range in $(firewall_ranges); do
        for network in $PLAN_SOURCES; do
            "$1" "$range" "$network"
        done
    done
}

firewall_firewalld() {
    rule="rule family=\"ipv4\" source address=\"$2\" port port=\"$1\" protocol=\"tcp\" accept"
    for where in --permanent ''; do # for the next boot, and for now: a reload would drop what others added
        # shellcheck disable=SC2086 # an option or nothing
        if ! limited 60 firewall-cmd $where "--query-rich-rule=$rule"; then
            made firewalld "$rule"
            # shellcheck disable=SC2086
            limited 60 firewall-cmd $where "--add-rich-rule=$rule" ||
                die "firewalld does not open $1: $(last_words)" "firewall-cmd --add-rich-rule='$rule' on the host"
            changed
        fi
    done
}

firewall_ufw() {
    set -- "$(printf %s "$1" | tr - :)" "$2"
    : >"$LOG"
    limited 60 ufw allow proto tcp from "$2" to any port "$1" comment opennebula ||
        die "ufw does not open $1: $(last_words)" "ufw allow proto tcp from $2 to any port $1 on the host"
    if grep -qE '^Rules? (added|updated)' "$LOG"; then
        changed
    fi
}

# Rules of an operator's own: ours go in front of the chain that drops, and into the file that makes it at boot.
firewall_nftables() {
    chain=$(timeout 30 nft list chains 2>>"$LOG" | awk '
        $1 == "table" { table = $2 " " $3 }
        $1 == "chain" { chain = $2 }
        /hook input/ && /policy drop/ { print table, chain; exit }')
    if [ -z "$chain" ]; then
        say 'nftables runs without a chain that drops by policy: see that it lets in consoles and migrations'
        return 0
    fi
    ports=$(firewall_ranges | paste -s -d , - | sed 's/,/, /g')
    match="ip saddr { $(printf %s "$PLAN_SOURCES" | sed 's/ /, /g') } tcp dport { $ports }"
    rule="$match accept comment \"opennebula\""
    # shellcheck disable=SC2086 # family, table and chain
    if ! timeout 30 nft list chain $chain | grep -F 'comment "opennebula"' | grep -qF "$match"; then
        for handle in $(timeout 30 nft -a list chain $chain | sed -n 's/.*comment "opennebula" # handle \([0-9]*\)$/\1/p'); do
            limited 30 nft delete rule $chain handle "$handle" || true
        done
        printf 'insert rule %s %s\n' "$chain" "$rule" >"$WORK/rule.nft"
        limited 30 nft -f "$WORK/rule.nft" ||
            die "nftables does not take our rule: $(last_words)" "nft insert rule $chain $rule"
        changed
    fi
    file=/etc/nftables.conf
    if [ -f /etc/sysconfig/nftables.conf ]; then
        file=/etc/sysconfig/nftables.conf
    fi
    if [ -f "$file" ]; then
        put_block "$file" root:root "$(stat -c %a "$file")" bottom "insert rule $chain $rule"
    fi
}

firewall_facts() { printf ', "firewall": %s' "$(json_string "$(firewall_at_work)")"; }
