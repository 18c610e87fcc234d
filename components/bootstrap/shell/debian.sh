#!/bin/sh
# Debian and Ubuntu: the package source and the node package, by apt.

DEBIAN_KEY=/etc/apt/keyrings/opennebula.gpg
DEBIAN_LIST=/etc/apt/sources.list.d/opennebula.list

debian_source_line() { printf 'deb [signed-by=%s] %s %s %s' "$1" "$(source_url)" "$PLAN_SUITE" "$PLAN_COMPONENT"; }

# debian_installed PACKAGE: its version if it is installed completely, else nothing.
debian_installed() {
    # shellcheck disable=SC2016 # dpkg-query expands these
    bounded 60 dpkg-query -W -f '${db:Status-Abbrev}|${Version}' "$1" 2>/dev/null | sed -n 's/^[ih]i |//p'
}

debian_newer() { bounded 60 dpkg --compare-versions "$1" gt "$2"; }

# apt and dpkg take record locks, which no shell can look at: apt itself is asked, with nothing to do.
debian_lock_holder() {
    : >"$LOG"
    if ! limited 60 apt-get -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= check && debian_locked; then
        debian_complaint | one_line
    fi
}

# apt waits by itself for the dpkg lock only; for the lists' lock and under plain dpkg it gives up at once.
debian_locked() { grep -qE 'Could not get lock|Unable to (acquire|lock)|locked by another process' "$LOG"; }

debian_key_fits() { [ -z "$PLAN_KEY" ] || { [ -f "$DEBIAN_KEY" ] && key_binary | cmp -s - "$DEBIAN_KEY"; }; }

# apt's last complaints, for a message. It prints addresses without the passwords that they may hold.
debian_complaint() {
    { grep -E '^[EW]|^dpkg: error| (Depends|Breaks|Conflicts): ' "$LOG" || tail -n 3 "$LOG"; }
}

debian_preflight() {
    other_source "$DEBIAN_LIST" /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources
    if [ -z "$PLAN_KEY" ]; then
        key_of_host "$DEBIAN_KEY" || true
    fi
    installed=$(debian_installed "$PACKAGE")
    if ! { version_fits "$installed" && [ ! -e "$UNFINISHED" ] && debian_key_fits && same_text "$DEBIAN_LIST" "$(debian_source_line "$DEBIAN_KEY")"; }; then
        debian_try_source "$installed"
    fi
}

# debian_try_source INSTALLED
debian_try_source() {
    present=$1
    corner=$WORK/apt
    mkdir -p "$corner/lists/partial" "$corner/cache/archives/partial"
    key=$corner/key.gpg
    if [ -n "$PLAN_KEY" ]; then
        key_binary >"$key"
    elif [ -f "$DEBIAN_KEY" ]; then
        cp "$DEBIAN_KEY" "$key"
    else
        return 0 # told already
    fi
    debian_source_line "$key" >"$corner/one.list"
    set -- -o "Dir::Etc::SourceList=$corner/one.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$corner/lists" -o "Dir::Cache=$corner/cache" -o APT::Sandbox::User=root
    : >"$LOG"
    if ! limited 60 apt-get "$@" -o Acquire::Languages=none -o Acquire::Retries=1 -o Acquire::http::Timeout=15 \
        -o Acquire::https::Timeout=15 -o APT::Update::Error-Mode=any update; then
        source_unusable
        return 0
    fi
    choose_version "$present" "$(bounded 60 apt-cache "$@" madison "$PACKAGE" | awk -F '|' '{ gsub(/ /, "", $2); print $2 }')" "$DEBIAN_LIST"
}

debian_repository() {
    place "$DEBIAN_KEY" mkdir -p "$(dirname "$DEBIAN_KEY")" "$(dirname "$DEBIAN_LIST")"
    made_file "$DEBIAN_LIST"
    if [ -n "$PLAN_KEY" ]; then
        made_file "$DEBIAN_KEY"
    fi
    if ! debian_key_fits; then
        draft=$DEBIAN_KEY.one-bootstrap
        why=$(key_binary 2>&1 >"$draft" && sync "$draft" 2>&1) || unwritten "$DEBIAN_KEY" "$why"
        chmod 0644 "$draft"
        mv -f "$draft" "$DEBIAN_KEY"
        changed
    fi
    put_text "$DEBIAN_LIST" root:root 0644 "$(debian_source_line "$DEBIAN_KEY")"
}

debian_install() {
    DEBIAN_FRONTEND=noninteractive
    NEEDRESTART_SUSPEND=1 # Ubuntu: no dialogue, no restart of services that are not ours
    export DEBIAN_FRONTEND NEEDRESTART_SUSPEND
    # Left by a run that was killed in the middle of an installation. What dpkg can configure by itself it does; what it
    # unpacked before the dependencies, or not whole, apt mends below with the sources at hand.
    mend=''
    bounded 60 dpkg --audit >"$WORK/audit" || true # it may end with 1 when there is something
    if [ -s "$WORK/audit" ] || ls /var/lib/dpkg/updates/[0-9]* >/dev/null 2>&1; then
        mend=yes
        with_lock "$PLAN_INSTALL_LIMIT" dpkg --force-confdef --force-confold --configure -a ||
            say "dpkg --configure -a says: $(complaint)"
    fi
    # ours was tried before; another source that is broken is told, and matters only if the installation needs it
    with_lock 300 apt-get -o Acquire::Retries=2 -o Acquire::http::Timeout=30 update ||
        say "apt-get update says: $(complaint)"
    if [ -n "$mend" ]; then
        debian_get --fix-broken install || say "apt-get --fix-broken install says: $(complaint)"
    fi
    names="${WANTED:+$PACKAGE=$WANTED}${EXTRA:+ $EXTRA}"
    others=''
    if [ -n "$AGAIN" ]; then
        # shellcheck disable=SC2016 # dpkg-query expands these
        others="--reinstall $(bounded 60 dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'opennebula-*' 2>/dev/null |
            awk -v package="$PACKAGE" '$1 ~ /^[ih]i/ && $2 != package { print $2 }')"
    fi
    # shellcheck disable=SC2086 # a list of words
    debian_get install $others $names ||
        die "$(printf %s "$names" | tr '=' ' ') cannot be installed: $(complaint)" "apt-get install $names on the host"
}

# OpenNebula's packages depend on each other by the very version, and apt takes the newest of each unless it is told.
debian_get() {
    {
        if [ -n "$WANTED" ]; then
            printf 'Package: opennebula*\nPin: version %s\nPin-Priority: 990\n\n' "$WANTED"
        fi
        if [ -f /etc/apt/preferences ]; then
            cat /etc/apt/preferences
        fi
    } >"$WORK/preferences"
    with_lock "$PLAN_INSTALL_LIMIT" apt-get -y --no-remove -o "DPkg::Lock::Timeout=$PLAN_LOCK_WAIT" -o Dpkg::Use-Pty=0 \
        -o "Dir::Etc::Preferences=$WORK/preferences" -o Acquire::Retries=2 -o Acquire::http::Timeout=30 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}
