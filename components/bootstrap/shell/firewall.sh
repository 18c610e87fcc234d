#!/bin/sh
# Where a firewall runs it stays on, and lets in what hypervisors need: ssh, consoles, and the data of live migrations.
#
# ssh, because this script may have come by a bastion, and the control plane and the other hosts do not. libvirt's own ports
# (16509, 16514) stay shut: OpenNebula migrates by qemu+ssh. A host without a firewall gets none. PLAN_SOURCES are the
# networks that may: consoles have no password unless a guest sets one, so nobody is let in unnamed. What was opened to others
# before is shut again, with PLAN_FIREWALL empty all of it (withdraw.sh).

FIREWALL_MIGRATION=49152-49215
# of a rule that an operator made by hand where we make none
FIREWALL_BY_HAND=opennebula-by-hand
# the tables of the old iptables that are there
FIREWALL_TABLES=/proc/net/ip_tables_names

firewall_ranges() {
    printf '%s\n%s\n' "$PLAN_SSH_PORT" "$PLAN_CONSOLES"
    if [ "$PLAN_KIND" = kvm ]; then
        printf '%s\n' "$FIREWALL_MIGRATION"
    fi
}

firewall_at_work() {
    if have firewall-cmd && [ "$(timeout 30 firewall-cmd --state 2>&1)" = running ]; then
        printf firewalld
    elif have ufw && timeout 30 ufw status 2>/dev/null | grep -q '^Status: active'; then
        printf ufw
    elif [ -d /run/systemd/system ] && have nft && at_work nftables.service; then
        printf nftables
    elif [ -n "$(firewall_iptables)" ]; then
        printf iptables
    fi
}

# The rules of INPUT, by the iptables that keeps some which let in nothing but what they name. The old one is asked only where
# its table is there: asking makes it.
firewall_iptables() {
    for each in iptables iptables-legacy; do
        have "$each" || continue
        case $(timeout 30 "$each" -V 2>/dev/null) in
            *nf_tables*) ;;
            *) grep -qx filter "$FIREWALL_TABLES" 2>/dev/null || continue ;;
        esac
        rules=$(timeout 30 "$each" -w 10 -S INPUT 2>/dev/null) || continue
        if printf '%s\n' "$rules" | grep -qE '^(-P INPUT DROP|-A INPUT( -m comment --comment ("[^"]*"|[^ ]+))? -j (DROP|REJECT)( --reject-with [a-z0-9-]+)?)$'; then
            printf '%s\n' "$rules"
            return 0
        fi
    done
}

firewall_preflight() {
    if [ -z "$PLAN_FIREWALL" ]; then
        return 0
    fi
    at_work=$(firewall_at_work)
    if [ -n "$at_work" ] && [ -z "$PLAN_SOURCES" ]; then
        problem "$at_work is at work, and the config names no network that may reach ssh, consoles and migrations" \
            "set preparation.firewall.sources (0.0.0.0/0 for all), or preparation.firewall.manage: false"
    elif [ "$at_work" = iptables ] && ! firewall_iptables | grep -qF "$FIREWALL_BY_HAND"; then
        ports=$(firewall_ranges | paste -s -d , - | tr - :)
        problem "rules of iptables drop what comes in, and they are not kept by this program" \
            "for each network of preparation.firewall.sources: iptables -I INPUT -p tcp -s NETWORK -m multiport --dports $ports -m comment --comment $FIREWALL_BY_HAND -j ACCEPT, and keep that beyond a boot (netfilter-persistent save, service iptables save); or preparation.firewall.manage: false"
    fi
}

firewall() {
    if [ -z "$PLAN_FIREWALL" ]; then
        firewall_shut
        return 0
    fi
    at_work=$(firewall_at_work)
    if [ -n "$at_work" ] && [ "$at_work" != iptables ]; then
        made firewall "$at_work"
        "firewall_$at_work"
    fi
    # one that was at work before; it may be again
    firewall_shut "$at_work"
}

# firewall_shut [EXCEPT]: what we opened in firewalls, except in that one. Of a firewall that we never opened nothing is demanded.
firewall_shut() {
    if [ "${1:-}" != firewalld ]; then
        withdraw_firewalld ''
    fi
    if [ "${1:-}" != ufw ] && have ufw && { is_made firewall ufw || limited 30 ufw show added; }; then
        withdraw_ufw ''
    fi
    if [ "${1:-}" != nftables ]; then
        if have nft && { is_made firewall nftables || limited 30 nft -a list ruleset; }; then
            withdraw_nftables
        fi
        drop_block /etc/nftables.conf
        drop_block /etc/sysconfig/nftables.conf
    fi
    recorded firewall >"$WORK/firewalls"
    while read -r each; do
        if [ "${1:-}" != "$each" ]; then
            unmade firewall "$each"
        fi
    done <"$WORK/firewalls"
}

# firewall_each COMMAND: with every range and every network that may
firewall_each() {
    for range in $(firewall_ranges); do
        for network in $PLAN_SOURCES; do
            "$1" "$range" "$network"
        done
    done
}

# In each zone by which a host is reached: the default one, which has the interfaces that nobody has put elsewhere, and those with
# interfaces or networks of their own. Not in zones that others keep for guests, nor in a list of networks that are banned.
firewall_firewalld() {
    default=$(bounded 30 firewall-cmd --get-default-zone)
    listed 'firewall-cmd --get-active-zones'
    zones=$({
        printf '%s\n' "$default"
        awk '
            /^[^ ]/ { zone = $1 }
            zone ~ /^(libvirt|docker)/ { next }
            /^ *interfaces: *[^ ]/ || (/^ *sources: *[^ ]/ && zone !~ /^(drop|block)$/) { print zone }' "$WORK/listed"
    } | sort -u)
    # without a zone: noted by an earlier program, which knew the default one alone
    recorded firewalld | grep '^rule ' >"$WORK/rules" || true
    while read -r rich; do
        made firewalld "$default $rich"
        unmade firewalld "$rich"
    done <"$WORK/rules"
    firewall_each firewall_rich_rule >"$WORK/wanted"
    while read -r zone rich; do firewall_rich; done <"$WORK/wanted"
    withdraw_firewalld "$(cat "$WORK/wanted")"
}

firewall_rich_rule() {
    for zone in $zones; do
        printf '%s rule family="ipv4" source address="%s" port port="%s" protocol="tcp" accept\n' "$zone" "$2" "$1"
    done
}

# Both for the next boot and for now: a reload would drop what others added. A rule that is there without a note is an operator's.
firewall_rich() {
    absent=''
    for where in --permanent ''; do
        # shellcheck disable=SC2086 # an option or nothing
        limited 60 firewall-cmd $where "--zone=$zone" "--query-rich-rule=$rich" || absent="$absent now$where"
    done
    if [ "$absent" = ' now--permanent now' ]; then
        made firewalld "$zone $rich"
    fi
    for where in $absent; do
        # shellcheck disable=SC2086
        limited 60 firewall-cmd ${where#now} "--zone=$zone" "--add-rich-rule=$rich" ||
            die "firewalld does not open the zone $zone: $(last_words)" "firewall-cmd --zone=$zone --add-rich-rule='$rich' on the host"
        changed
    done
}

# A rule in other words than ufw's own would go and come back with each run: its way of writing is in ufw's parser.py, get_command.
firewall_ufw_rule() {
    case $2 in
        0.0.0.0/0) printf 'allow %s/tcp\n' "$(printf %s "$1" | tr - :)" ;;
        *) printf 'allow from %s to any port %s proto tcp\n' "${2%/32}" "$(printf %s "$1" | tr - :)" ;;
    esac
}

firewall_ufw() {
    withdraw_ufw "$(firewall_each firewall_ufw_rule)"
    firewall_each firewall_ufw_open
}

# One that is there under another name is an operator's: ufw would give it ours.
firewall_ufw_open() {
    if awk -v rule="ufw $(firewall_ufw_rule "$1" "$2")" 'index($0, rule) == 1 && substr($0, length(rule) + 1) ~ /^( comment |$)/ { found = 1 }
        END { exit !found }' "$WORK/listed"; then
        return 0
    fi
    set -- "$(printf %s "$1" | tr - :)" "$2"
    limited 60 ufw allow proto tcp from "$2" to any port "$1" comment opennebula ||
        die "ufw does not open $1: $(last_words)" "ufw allow proto tcp from $2 to any port $1 on the host"
    changed
}

# firewall_chains: of a list of nft's, the chains that drop by policy what comes in by IPv4. Each of them must let it pass.
firewall_chains() {
    awk '
        $1 == "table" { family = $2; table = $3 }
        $1 == "chain" { chain = $2 }
        /hook input/ && /policy drop/ && (family == "ip" || family == "inet") { print family, table, chain }'
}

firewall_nft_rule() { printf 'ip saddr %s tcp dport %s accept comment "%s"\n' "$2" "$1" "$mark"; }

# firewall_nft_inserts FILE: for each chain in it
firewall_nft_inserts() {
    while read -r chain; do
        firewall_each firewall_nft_rule | sed "s/^/insert rule $chain /"
    done <"$1"
}

# Rules of an operator's own: ours go in front of the chains that drop, and into the file that makes these at boot. nft writes a
# rule in other words than it read, so ours bear the sum of what they say. No sets: iptables cannot read them in its own chains.
firewall_nftables() {
    mark=opennebula
    mark="opennebula $(firewall_each firewall_nft_rule | cksum | cut -d ' ' -f 1)"
    listed 'nft -a list ruleset'
    firewall_chains <"$WORK/listed" >"$WORK/chains"
    nftables_ours "$WORK/listed" >"$WORK/ours"
    if [ ! -s "$WORK/chains" ]; then
        say 'nftables runs without a chain that drops IPv4 by policy: see that it lets in ssh, consoles and migrations'
    fi
    # chains with exactly our rules are right; in all others of ours go, and in those that drop come anew, at once
    awk -v mark="${mark#opennebula }" -v many="$(firewall_each firewall_nft_rule | grep -c .)" '
        FILENAME ~ /chains$/ { wanted[$0] = 1; next }
        { chain = $2 " " $3 " " $4; total[chain]++; good[chain] += ($1 == mark); rule[chain] = rule[chain] "delete rule " chain " handle " $5 "\n" }
        END {
            for (chain in total) if (!(chain in wanted) || total[chain] != many || good[chain] != many) printf "%s", rule[chain]
            for (chain in wanted) if (total[chain] != many || good[chain] != many) print chain >wrong
        }' wrong="$WORK/wrong" "$WORK/chains" "$WORK/ours" >"$WORK/rules.nft"
    if [ -e "$WORK/wrong" ]; then
        firewall_nft_inserts "$WORK/wrong" >>"$WORK/rules.nft"
    fi
    if [ -s "$WORK/rules.nft" ]; then
        limited 30 nft -f "$WORK/rules.nft" ||
            die "nftables does not take our rules: $(last_words)" "nft -a list ruleset on the host"
        changed
    fi
    firewall_nftables_file
}

# A rule for a chain that is not made by then would keep all of the file from being read at boot. What it makes is seen in a
# network of its own; where that cannot be seen (interfaces by number), its chains are taken to be those that are there.
firewall_nftables_file() {
    file=/etc/nftables.conf
    if [ -f /etc/sysconfig/nftables.conf ]; then
        file=/etc/sysconfig/nftables.conf
    fi
    if [ ! -f "$file" ]; then
        return 0
    fi
    cp "$WORK/chains" "$WORK/kept"
    without_block "$file" >"$WORK/boot.nft" || true # told when it is written
    # shellcheck disable=SC2016 # the inner shell's
    if timeout 30 unshare --net sh -c 'cd / && nft -f "$1" && nft list ruleset' sh "$WORK/boot.nft" >"$WORK/boot" 2>>"$LOG" </dev/null 9>&-; then
        firewall_chains <"$WORK/boot" >"$WORK/makes"
        grep -xF -f "$WORK/makes" "$WORK/chains" >"$WORK/kept" || true
    fi
    while read -r chain; do
        [ -z "$chain" ] || say "$file does not make the chain $chain: our rules in it last until the next boot"
    done <<LEFT
$(grep -vxF -f "$WORK/kept" "$WORK/chains" || true)
LEFT
    if [ -s "$WORK/kept" ]; then
        put_block "$file" root:root "$(stat -c %a "$file")" bottom "$(firewall_nft_inserts "$WORK/kept")"
    else
        drop_block "$file"
    fi
}

firewall_facts() {
    if [ -n "$PLAN_FIREWALL" ]; then
        printf ', "firewall": %s' "$(json_string "$(firewall_at_work)")"
    fi
}
