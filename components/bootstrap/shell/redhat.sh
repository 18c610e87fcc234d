#!/bin/sh
# AlmaLinux, Rocky Linux and RHEL: the package source and the node package, by dnf; CRB and EPEL, which they need.

REDHAT_REPO=/etc/yum.repos.d/opennebula.repo

redhat_installed() { rpm_installed "$1"; }
redhat_newer() { rpm_newer "$1" "$2"; }
redhat_locked() { [ "$1" -eq 200 ]; } # what exit_on_lock makes of a lock
redhat_complaint() { grep -E '^(Error|error)|GPG (check|signature)|nothing provides|No match|not available|Status code|Curl error|with PID' "$LOG" || tail -n 3 "$LOG"; }

# dnf waits for ever unless it is told not to
redhat_dnf() { with_lock "$PLAN_INSTALL_LIMIT" dnf -y --setopt=exit_on_lock=1 --setopt=timeout=30 "$@"; }

# The process that a lock file of dnf's names, if it lives: dnf asks no more than that.
lock_of() {
    if [ -s "$1" ]; then
        owner=$(tr -cd '0-9' <"$1")
        if [ -n "$owner" ] && [ "$owner" != "$$" ] && [ -d "/proc/$owner" ]; then
            printf 'held by process %s (%s)' "$owner" "$(cat "/proc/$owner/comm" 2>/dev/null)"
        fi
    fi
}

redhat_lock_holder() {
    for file in /var/lib/dnf/rpmdb_lock.pid /var/cache/dnf/metadata_lock.pid /var/cache/dnf/download_lock.pid; do
        lock_of "$file"
    done
}

redhat_preflight() {
    other_source "$REDHAT_REPO" /etc/yum.repos.d/*.repo
    redhat_missing
    if ! rpm_settled "$REDHAT_REPO"; then
        redhat_try_source
    fi
    redhat_dependencies
}

# CRB_ID, and which of CRB and EPEL is not there by its usual name. Clouds have names of their own for RHEL's.
redhat_missing() {
    major=${OS_VERSION%%.*}
    case $OS_ID:$major in
        rhel:*) CRB_ID=codeready-builder-for-rhel-$major-$(uname -m)-rpms ;;
        *:8) CRB_ID=powertools ;;
        *) CRB_ID=crb ;;
    esac
    enabled=$(timeout 60 dnf -q repolist --enabled 2>>"$LOG" | awk 'NR > 1 { print $1 }')
    CRB_MISSING=yes
    EPEL_MISSING=yes
    for each in $enabled; do
        case $each in
            *-debug-* | *-source-*) ;;
            "$CRB_ID" | *"codeready-builder-for-rhel-$major-"*) CRB_MISSING='' ;;
            epel) EPEL_MISSING='' ;;
        esac
    done
}

# Whether they are needed dnf can say, with the source of the try: mirrors have any name.
redhat_dependencies() {
    names="${WANTED:+$PACKAGE-$WANTED}${EXTRA:+ $EXTRA}"
    if [ -n "$names" ]; then
        mkdir -p "$WORK/dnf"
        : >"$LOG"
        # it stops where it would have asked: other people's repositories may have been left out by then, with an error
        # shellcheck disable=SC2086 # a list of words
        if limited 300 dnf -y --setopt=exit_on_lock=1 --setopt=timeout=15 --setopt=retries=1 "--setopt=logdir=$WORK/dnf" \
            "--setopt=reposdir=/etc/yum.repos.d,$WORK/dnf/repos" --assumeno install $names || grep -q 'Operation aborted' "$LOG"; then
            CRB_MISSING=''
            EPEL_MISSING=''
        elif [ -z "$CRB_MISSING$EPEL_MISSING" ]; then
            problem "$names cannot be installed: $(complaint)" "look at the host's other repositories: dnf repolist"
        fi
    elif [ -n "$(rpm_installed "$PACKAGE")" ]; then
        CRB_MISSING=''
        EPEL_MISSING=''
    fi
    if [ "$OS_ID" != rhel ] && [ -n "$PLAN_ENABLE" ]; then
        return 0
    fi
    if [ -n "$CRB_MISSING" ]; then
        case $OS_ID in
            rhel) problem "the repository $CRB_ID is not enabled" "subscription-manager repos --enable $CRB_ID on the host" ;;
            *) problem "the repository $CRB_ID is not enabled" "dnf config-manager --set-enabled $CRB_ID on the host" ;;
        esac
    fi
    if [ -n "$EPEL_MISSING" ]; then
        problem 'the repository epel is not enabled' "install epel-release of EPEL $major on the host"
    fi
}

redhat_try_source() {
    corner=$WORK/dnf
    mkdir -p "$corner/repos"
    rpm_key_to "$corner/key" || return 0
    rpm_source "$corner/key" >"$corner/repos/opennebula.repo"
    set -- -y --setopt=exit_on_lock=1 --setopt=timeout=15 --setopt=retries=1 \
        "--setopt=logdir=$corner" "--setopt=persistdir=$corner/persist"
    : >"$LOG"
    if ! limited 60 dnf "$@" --setopt=skip_if_unavailable=0 "--setopt=reposdir=$corner/repos" \
        "--setopt=cachedir=$corner/cache" makecache; then
        source_unusable
        return 0
    fi
    choose_version "$(rpm_installed "$PACKAGE")" "$(timeout 60 dnf "$@" -q -C "--setopt=reposdir=$corner/repos" \
        "--setopt=cachedir=$corner/cache" repoquery --qf '%{version}-%{release}' "$PACKAGE" 2>>"$LOG" | sort -rVu)" "$REDHAT_REPO"
}

redhat_repository() {
    rpm_repository "$REDHAT_REPO"
    if [ "$OS_ID" = rhel ] || [ -z "$PLAN_ENABLE" ]; then
        return 0
    fi
    if [ -n "$CRB_MISSING" ]; then
        redhat_enable "$CRB_ID"
    fi
    if [ -n "$EPEL_MISSING" ]; then
        # a package of the distribution itself, signed with its key; one that is there may be switched off
        redhat_dnf install epel-release || die "epel-release cannot be installed: $(complaint)" 'dnf install epel-release on the host'
        redhat_enable epel
    fi
}

redhat_enable() {
    if ! limited 60 rpm -q dnf-plugins-core && ! limited 60 dnf config-manager --help; then
        redhat_dnf install dnf-plugins-core || die "dnf-plugins-core cannot be installed: $(complaint)" 'dnf install dnf-plugins-core'
    fi
    limited 60 dnf -y config-manager --set-enabled "$1" ||
        die "the repository $1 cannot be enabled: $(complaint)" "dnf config-manager --set-enabled $1 on the host"
    changed
}

redhat_install() {
    rpm_again '%{NEVRA}' redhat_dnf reinstall
    names="${WANTED:+$PACKAGE-$WANTED}${EXTRA:+ $EXTRA}"
    # shellcheck disable=SC2086 # a list of words
    redhat_dnf install $names || die "$names cannot be installed: $(complaint)" "dnf install $names on the host"
    rpm_scriptlets
}
