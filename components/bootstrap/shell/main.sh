#!/bin/sh
# The order of the steps. Everything that can be wrong beforehand is told in preflight, before the first change.

preflight() {
    for tool in awk base64 cmp df flock getent setpriv stat timeout; do
        have "$tool" || problem "the program $tool is missing" "install $tool on the host"
    done
    clock_preflight
    owner_preflight
    name=$(uname -n)
    if ! timeout 15 getent hosts "$name" >/dev/null; then
        problem "the host cannot resolve its own name $name" "add '127.0.1.1 $name' to /etc/hosts on the host"
    fi
    full=$(bounded 60 df -Pk /usr /var | awk -v need="$((PLAN_FREE_MIB * 1024))" 'NR > 1 && $4 < need { print $6 }' | sort -u | one_line)
    if [ -n "$full" ]; then
        problem "less than $PLAN_FREE_MIB MiB free in $full" 'make room there'
    fi
    account_preflight
    if detect; then
        confinement_preflight
        storage_preflight
        firewall_preflight
        "${PLAN_KIND}_preflight"
        packages_preflight
    else
        FAMILY=''
        "${PLAN_KIND}_preflight"
    fi
    settle
    own
}

# Whose host this is stands in the record, also where no oned knows of it. One without a note is nobody's.
owner_preflight() {
    owner=$(recorded owner)
    if [ -n "$owner" ] && [ -z "$PLAN_TAKE_OVER" ] && ! printf '%s\n' "$owner" | grep -qxF "$PLAN_OWNERS"; then
        problem "the host belongs to $(printf '%s' "$owner" | head -n 1), and this stack is $(printf '%s' "$PLAN_OWNERS" | head -n 1)" \
            "take it out of this configuration, or set 'adopt: always' for it"
    fi
}

own() { put_record "$(printf '%s\n' "$PLAN_OWNERS" | sed -n 's/^./owner &/p'; grep -v '^owner ' "$MADE" 2>/dev/null || true)"; }

# PLAN_NOW is the sender's clock, given beside the script, CLOCK the host's when it came; signatures and certificates are judged by that.
clock_preflight() {
    if [ "$CLOCK" -lt "$PLAN_EARLIEST" ]; then
        problem "the clock says $(date -u +%FT%TZ), which is long past" 'set the clock, enable NTP'
    elif [ -n "${PLAN_NOW:-}" ]; then
        skew=$((CLOCK - PLAN_NOW))
        if [ "${skew#-}" -gt "$PLAN_CLOCK_SKEW" ]; then
            problem "the clock is $skew s off the control side's (more than $PLAN_CLOCK_SKEW s)" 'set the clock, enable NTP'
        fi
    fi
}

# The host's line of the table of systems: what it is, not what it is said to be. 1: none, and told.
detect() {
    # os-release is the host's own file, and root's.
    # shellcheck disable=SC1091
    OS_ID=$(. /etc/os-release && printf '%s' "${ID:-unknown}")
    # shellcheck disable=SC1091
    OS_VERSION=$(. /etc/os-release && printf '%s' "${VERSION_ID:-unknown}")
    line=$(printf '%s\n' "$PLAN_SYSTEMS" | awk -v full="$OS_ID:$OS_VERSION" -v major="$OS_ID:${OS_VERSION%%.*}" \
        '$1 == full || $1 == major { print; exit }')
    # shellcheck disable=SC2086 # words
    set -- $line
    if [ $# -eq 0 ]; then
        choice=$(printf '%s\n' "$PLAN_SYSTEMS" | cut -d' ' -f1 | one_line)
        if [ -n "$PLAN_OS" ]; then
            problem "the host is $OS_ID $OS_VERSION, the config says $PLAN_OS" "correct 'os' of this host in the config"
        else
            problem "$OS_ID $OS_VERSION is no system that OpenNebula $PLAN_VERSION has $PLAN_KIND packages for ($choice)" \
                'install one of these on the host, or set another version'
        fi
        return 1
    fi
    # shellcheck disable=SC2034 # read by other parts
    FAMILY=$2 DIRECTORY=$3 LIBVIRT=$4
}

checks() {
    account_checks
    "${PLAN_KIND}_checks"
    storage_checks
    settle
}

# The last line on standard output: one JSON object.
facts() {
    printf '{"host": %s, "kind": %s, "os": %s, "package": %s, "version": %s, "confinement": %s' "$(json_string "$PLAN_NAME")" \
        "$(json_string "$PLAN_KIND")" "$(json_string "$OS_ID $OS_VERSION")" "$(json_string "$PACKAGE")" \
        "$(json_string "$("${FAMILY}_installed" "$PACKAGE")")" "$(json_string "$(confined_by)")"
    "${PLAN_KIND}_facts"
    firewall_facts
    if [ -n "$CHANGES" ]; then
        printf ', "changed": true, "changes": ["%s"]}\n' "$(printf '%s' "$CHANGES" | sed 's/ /", "/g')"
    else
        printf ', "changed": false, "changes": []}\n'
    fi
}

main() {
    if [ "$(id -u)" -ne 0 ]; then
        die 'this must run as root' 'give the login user passwordless sudo'
    fi
    CLOCK=$(date +%s) # before anything is waited for
    begin
    for each_step in $PLAN_STEPS; do
        step "$each_step"
        "$(printf '%s' "$each_step" | tr - _)"
    done
    facts
}
