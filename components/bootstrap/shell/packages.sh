#!/bin/sh
# What apt, dnf and zypper have in common: which version is wanted, waiting for their locks, the source's address.
#
# A family file gives <family>_preflight, _repository, _install, _installed, _newer, _lock_holder, _locked and
# _complaint. Its source is tried out in a corner of its own first (own cache, own keys), with the package manager's own
# signature check: a wrong key, a dead mirror or a missing version is known before anything on the host has changed.

PACKAGE=opennebula-node-$PLAN_KIND
WANTED='' # full version to install; empty: what is installed fits
EXTRA=''  # packages of the distribution that this host needs besides
ARCHITECTURES='x86_64 aarch64'
MOVED=''  # yes: the source was another system's
AGAIN=''  # yes: what a run before this one may have left half is installed once more
# survives a power cut, unlike the run that wrote it
UNFINISHED=/var/lib/one-bootstrap.unfinished

# The documented layout has one directory an OS release; {os} in the address stands for it.
source_url() {
    place=$(printf '%s' "$DIRECTORY" | sed "s|{arch}|$(uname -m)|")
    printf '%s' "$PLAN_URL" | sed "s|{os}|$place|g"
}

version_fits() {
    case $1 in
        "$PLAN_VERSION" | "$PLAN_VERSION".* | "$PLAN_VERSION"[-~+]*) return 0 ;;
        *) return 1 ;;
    esac
}

key_binary() { printf '%s\n' "$PLAN_KEY" | sed '/^[-=]/d' | base64 -d; }

# A disk that is full says so once, in front of many lines that only follow from it.
complaint() {
    {
        grep -iE 'no space left on device|disk quota exceeded|(needs|at least) [0-9.]+ ?[kmg]i?b .*space|enough (free|disk) ?space' "$LOG" | tail -n 1
        "${FAMILY}_complaint" | tail -n 3
    } | awk '!said[$0]++' | one_line
}

packages_preflight() {
    case " $ARCHITECTURES " in
        *" $(uname -m) "*) ;;
        *) problem "architecture $(uname -m) is none of: $ARCHITECTURES" 'use another machine' ;;
    esac
    for other in opennebula-node-kvm opennebula-node-lxc; do
        if [ "$other" != "$PACKAGE" ] && [ -n "$("${FAMILY}_installed" "$other")" ]; then
            problem "$other is installed, which excludes $PACKAGE" "set the other kind, or remove $other from the host"
        fi
    done
    await_lock
    if source_resolves; then
        "${FAMILY}_preflight"
    fi
}

# Asked by itself, because package managers word it in a dozen ways.
source_resolves() {
    server=$(printf '%s' "$PLAN_URL" | sed -n 's|^https*://\([^/]*\).*|\1|p' | sed 's/:[0-9]*$//; s/^\[//; s/\]$//')
    if [ -z "$server" ] || timeout 15 getent ahosts "$server" >/dev/null; then
        return 0
    fi
    problem "the host cannot resolve $server, where the packages are" 'mend /etc/resolv.conf or the DNS server of the host'
    return 1
}

# Another package manager at work is waited for before the first change, PLAN_LOCK_WAIT seconds at the most.
await_lock() {
    until_time=$(($(date +%s) + PLAN_LOCK_WAIT))
    while :; do
        holder=$("${FAMILY}_lock_holder")
        if [ -z "$holder" ]; then
            return 0
        fi
        if [ "$(date +%s)" -ge "$until_time" ]; then
            problem "another package manager held its lock for $PLAN_LOCK_WAIT s: $holder" \
                'wait for it or stop it, then run again'
            return 0
        fi
        sleep 1
    done
}

# with_lock LIMIT COMMAND...: the same for a single command, should somebody take the lock in between.
with_lock() {
    until_time=$(($(date +%s) + PLAN_LOCK_WAIT))
    while :; do
        : >"$LOG"
        status=0
        limited "$@" || status=$?
        if [ "$status" -eq 0 ]; then
            return 0
        fi
        if ! "${FAMILY}_locked" "$status"; then
            return "$status"
        fi
        if [ "$(date +%s)" -ge "$until_time" ]; then
            die "another package manager held its lock for $PLAN_LOCK_WAIT s: $(complaint)" \
                'wait for it or stop it, then run again'
        fi
        sleep 1
    done
}

# other_source OURS FILE...: files of somebody else that name our source too.
other_source() {
    ours=$1 url=$(source_url)
    shift
    for file in "$@"; do
        if [ "$file" != "$ours" ] && [ -f "$file" ] && sed 's/#.*//' "$file" | grep -qF "${url%/}"; then
            problem "$file names the package source too, perhaps with another key" "rm $file on the host"
        fi
    done
}

# key_of_host FILE: without a key in the plan the host brings it, and its full fingerprint must be the plan's. 1: it is not, and told.
key_of_host() {
    if [ ! -f "$1" ]; then
        problem "the plan has no repository key and the host has no $1" 'set the armored key in the config'
        return 1
    elif ! have gpg; then
        problem "gpg is missing, so $1 cannot be checked" 'install gpg on the host, or set the armored key in the config'
        return 1
    fi
    mkdir -m 0700 "$WORK/gnupg"
    prints=$(bounded 60 gpg --homedir "$WORK/gnupg" --batch --with-colons --show-keys "$1" 2>>"$LOG" |
        awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }')
    if [ "$prints" != "$PLAN_FINGERPRINT" ]; then
        problem "$1 has fingerprint $(printf '%s' "${prints:-none}" | one_line), the config says $PLAN_FINGERPRINT" \
            'put the right key there, or correct the fingerprint'
        return 1
    fi
}

source_unusable() {
    problem "package source $(source_url) cannot be used: $(complaint)" \
        'check its address and key in the config, and the network and clock of the host'
}

# moved FILE: our source there names the directory of another system, which this host was before. What is installed was built for that.
moved() {
    had=$(sed -n 's/^baseurl=//p; s/^[# ]*deb \[[^]]*\] \([^ ]*\) .*/\1/p' "$1" 2>/dev/null | head -n 1)
    case $PLAN_URL:$had in
        *:"$(source_url)") return 1 ;;
        *'{os}'*:"${PLAN_URL%%'{os}'*}"*"${PLAN_URL##*'{os}'}") MOVED=yes ;;
        *) return 1 ;;
    esac
}

# choose_version INSTALLED OFFERED (newest first) FILE: what to install, or why that cannot be.
choose_version() {
    if version_fits "$1" && ! moved "$3"; then
        if [ -e "$UNFINISHED" ]; then
            WANTED=$1 # once more, whole
        fi
        return 0
    fi
    for version in $2; do
        if version_fits "$version"; then
            WANTED=$version
            break
        fi
    done
    if [ -z "$WANTED" ]; then
        problem "$(source_url) has no $PACKAGE $PLAN_VERSION (it has: $(printf '%s' "${2:-none}" | one_line))" \
            'set the version or the package source right'
    elif [ -n "$1" ] && "${FAMILY}_newer" "$1" "$WANTED"; then
        problem "$PACKAGE $1 is installed, newer than $WANTED" "set version $1, or remove the package from the host"
    fi
}

repository() {
    if [ -n "$MOVED" ]; then
        unfinished # before the source says otherwise
    fi
    "${FAMILY}_repository"
}

# Names of distributions differ, so the lists are theirs: want_package DEBIAN REDHAT SUSE.
want_package() {
    case $FAMILY in
        debian) name=$1 ;;
        redhat) name=$2 ;;
        *) name=$3 ;;
    esac
    for each in $name; do
        if [ -z "$("${FAMILY}_installed" "$each")" ]; then
            EXTRA="${EXTRA:+$EXTRA }$each"
        fi
    done
}

unfinished() {
    if [ ! -e "$UNFINISHED" ]; then
        place "$UNFINISHED" touch "$UNFINISHED"
        place "$UNFINISHED" sync "$UNFINISHED" "$(dirname "$UNFINISHED")"
    fi
}

# The mark stays when a run is killed or the power fails in the middle: half an installation looks whole to rpm. It keeps its time,
# which tells what came since.
package() {
    if [ -z "$WANTED$EXTRA" ]; then
        return 0
    fi
    if [ -e "$UNFINISHED" ]; then
        # shellcheck disable=SC2034 # the families read it
        AGAIN=yes
    fi
    unfinished
    if [ -n "$WANTED" ]; then
        if [ -z "$("${FAMILY}_installed" "$PACKAGE")" ]; then
            made package "$PACKAGE"
        fi
    fi
    "${FAMILY}_install"
    changed
    if [ -n "$WANTED" ] && [ "$("${FAMILY}_installed" "$PACKAGE")" != "$WANTED" ]; then
        die "the package manager ended well, but $PACKAGE $WANTED is not installed" "install $PACKAGE by hand on the host"
    fi
    rm -f "$UNFINISHED"
}
