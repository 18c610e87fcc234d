#!/bin/sh
# What dnf and zypper share: rpm's database, its keys, and the text of a source.
#
# Packages and metadata are both checked by signature. Half an installation looks whole to rpm (files are there, the
# scriptlets did not run), so what an interrupted run may have left is installed once more.

RPM_KEY=/etc/pki/rpm-gpg/RPM-GPG-KEY-opennebula

# rpm says "not installed" on standard output
rpm_installed() { if found=$(bounded 60 rpm -q --qf '%{VERSION}-%{RELEASE}\n' "$1" 2>/dev/null); then printf '%s\n' "$found" | tail -n 1; fi; }

rpm_newer() { [ "$(bounded 60 rpm --eval "%{lua:print(rpm.vercmp('$1', '$2'))}")" = 1 ]; }

rpm_source() {
    printf '[opennebula]\nname=OpenNebula\nbaseurl=%s\nenabled=1\nautorefresh=1\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://%s' \
        "$(source_url)" "$1"
}

rpm_key_fits() { [ -z "$PLAN_KEY" ] || same_text "$RPM_KEY" "$PLAN_KEY"; }

# rpm names a key by the end of its fingerprint: 8 digits, all 40 in newer versions.
rpm_trusts_key() {
    bounded 60 rpm -q gpg-pubkey --qf '%{VERSION}\n' 2>/dev/null |
        awk -v all="$PLAN_FINGERPRINT" '{ short = toupper($1) }
            length(short) >= 8 && substr(all, length(all) - length(short) + 1) == short { found = 1 }
            END { exit !found }'
}

# rpm_key_to FILE: the key of the plan, or the host's own if its fingerprint is the plan's. 1: none, and told.
rpm_key_to() {
    if [ -n "$PLAN_KEY" ]; then
        printf '%s\n' "$PLAN_KEY" >"$1"
        return 0
    fi
    key_of_host "$RPM_KEY" || return 1
    cp "$RPM_KEY" "$1"
}

# rpm_settled FILE: nothing to try out, the source is as it should be and the package too.
rpm_settled() {
    version_fits "$(rpm_installed "$PACKAGE")" && [ ! -e "$UNFINISHED" ] && rpm_key_fits && rpm_trusts_key &&
        same_text "$1" "$(rpm_source "$RPM_KEY")"
}

# rpm_repository FILE: key, trust, source.
rpm_repository() {
    place "$RPM_KEY" mkdir -p "$(dirname "$RPM_KEY")" "$(dirname "$1")"
    made_file "$1"
    if [ -n "$PLAN_KEY" ]; then
        made_file "$RPM_KEY"
        put_text "$RPM_KEY" root:root 0644 "$PLAN_KEY"
    fi
    if ! rpm_trusts_key; then
        made rpm-key "$PLAN_FINGERPRINT"
        limited 60 rpm --import "$RPM_KEY" ||
            die "rpm does not take the repository's key: $(last_words)" "rpm --import $RPM_KEY on the host"
        changed
    fi
    put_text "$1" root:root 0644 "$(rpm_source "$RPM_KEY")"
}

# dnf calls an installation a success whose scriptlets failed: a host without oneadmin's files. The mark stays.
rpm_scriptlets() {
    if grep -qE 'scriptlet failed|Error in [A-Z]* scriptlet' "$LOG"; then
        said=$(grep -vE '^ *(Running|Installing|Reinstalling|Verifying|Preparing|Cleanup)' "$LOG" |
            grep -B 1 -E 'scriptlet failed|Error in' | tail -n 4 | one_line)
        die "a scriptlet of the packages failed: $said" \
            'mend what it says, then run again: the packages will be installed once more'
    fi
}

# rpm_since TIME FORMAT: OpenNebula's packages as FORMAT says, and all that came since.
rpm_since() {
    bounded 60 rpm -qa --qf "%{INSTALLTIME} %{NAME} $2\n" |
        awk -v since="$1" '$2 ~ /^opennebula-/ || $1 >= since && $2 != "gpg-pubkey" { print $3 }' | sort
}

# rpm_again FORMAT COMMAND...: what a run before this one may have left half. Both managers call it a success when some of it came, so
# the times are looked at. Where it fails, and what is there is what is wanted, nothing after it would mend it.
rpm_again() {
    [ -n "$AGAIN" ] || return 0
    present=$(rpm_since "$(stat -c %Y "$UNFINISHED")" "$1")
    [ -n "$present" ] || return 0
    shift
    began=$(date +%s)
    # shellcheck disable=SC2086 # a list of words
    if ! "$@" $present || rpm_since 9999999999 '%{INSTALLTIME}' | awk -v began="$began" '$1 < began { old = 1 } END { exit !old }'; then
        rpm_scriptlets
        again="what an interrupted run has left cannot be installed once more: $(complaint)"
        [ "$(rpm_installed "$PACKAGE")" != "$WANTED" ] || die "$again" \
            'mend what it says, then run it again; or set a version that the package source has'
        say "$again"
    fi
    rpm_scriptlets
}
