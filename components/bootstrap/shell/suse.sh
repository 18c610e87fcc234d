#!/bin/sh
# openSUSE Leap and SLES: the package source and the node package, by zypper.

SUSE_REPO=/etc/zypp/repos.d/opennebula.repo

suse_installed() { rpm_installed "$1"; }
suse_newer() { rpm_newer "$1" "$2"; }
suse_locked() { [ "$1" -eq 7 ]; } # ZYPPER_EXIT_ZYPP_LOCKED
suse_complaint() { grep -iE '^ *(error|problem|nothing provides|warning: .*signature)|not found|fail|signature|can.t|locked|permission|@System' "$LOG" || tail -n 3 "$LOG"; }

# zypper itself is asked, for something that takes its lock: a number left in its lock file counts only while a zypp program has it.
suse_lock_holder() {
    : >"$LOG"
    status=0
    limited 60 zypper --non-interactive --no-refresh locks || status=$?
    if suse_locked "$status"; then
        suse_complaint | one_line
    fi
}

# Done, and only a reboot or a restart of daemons is advised: 102 and 103; or another source was left out, and not needed: 106. A
# scriptlet that failed: 107, a failure.
suse_zypper() {
    status=0
    with_lock "$PLAN_INSTALL_LIMIT" zypper --non-interactive "$@" || status=$?
    case $status in
        102 | 103 | 106) return 0 ;;
        *) return "$status" ;;
    esac
}

suse_preflight() {
    other_source "$SUSE_REPO" /etc/zypp/repos.d/*.repo
    if ! rpm_settled "$SUSE_REPO"; then
        suse_try_source
    fi
}

# With a root of its own zypper has keys of its own too: ours is trusted there, and nowhere else.
suse_try_source() {
    corner=$WORK/zypp
    mkdir -p "$corner/root" "$corner/repos"
    rpm_key_to "$corner/key" || return 0
    rpm_source "$corner/key" >"$corner/repos/opennebula.repo"
    : >"$LOG"
    limited 30 rpm --root "$corner/root" --import "$corner/key" || true # zypper will say what is wrong
    set -- --non-interactive --root "$corner/root" --reposd-dir "$corner/repos" --cache-dir "$corner/cache"
    if ! limited 60 zypper "$@" refresh; then
        source_unusable
        return 0
    fi
    choose_version "$(rpm_installed "$PACKAGE")" "$(timeout 60 zypper --xmlout "$@" --no-refresh search --details --match-exact \
        --type package "$PACKAGE" 2>>"$LOG" | sed -n 's/.* edition="\([^"]*\)".*/\1/p' | sort -rVu)" "$SUSE_REPO"
}

suse_repository() { rpm_repository "$SUSE_REPO"; }

suse_install() {
    with_lock 300 zypper --non-interactive refresh opennebula ||
        die "zypper cannot read the source: $(complaint)" 'zypper refresh opennebula on the host'
    rpm_again '%{NAME}=%{EVR}' suse_zypper install --force --no-recommends
    names="${WANTED:+$PACKAGE=$WANTED}${EXTRA:+ $EXTRA}"
    # shellcheck disable=SC2086 # a list of words
    suse_zypper install --no-recommends $names || {
        rpm_scriptlets
        die "$(printf %s "$names" | tr '=' ' ') cannot be installed: $(complaint)" \
            "zypper install $names on the host; SLES needs the modules PackageHub and desktop-applications (SUSEConnect --list-extensions)"
    }
}
