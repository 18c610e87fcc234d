#!/bin/sh
# oneadmin, whom the package makes: who it is, who may log in as it, whom it trusts, and where its scripts go.
#
# The account, its sudoers and its home are the package's; here they are looked at. Ours are the lock of the account,
# one block in authorized_keys, the pinned host keys, one block in the ssh client's config, and two directories.

ONE_USER=oneadmin
ONE_ID=9869 # the same on front-end and hosts: shared datastores carry it
ONE_HOME=/var/lib/one
ONE_SSH=$ONE_HOME/.ssh
ONE_OWNER=$ONE_USER:$ONE_USER

as_oneadmin() { bounded 60 setpriv --reuid "$ONE_ID" --regid "$ONE_ID" --init-groups env -i HOME="$ONE_HOME" PATH="$PATH" "$@"; }

# Before the package comes: nobody else may sit on its name or number.
account_preflight() {
    holder=$(bounded 30 getent passwd "$ONE_ID" | cut -d: -f1)
    number=$(bounded 30 getent passwd "$ONE_USER" | cut -d: -f3)
    if [ -n "$holder" ] && [ "$holder" != "$ONE_USER" ]; then
        problem "uid $ONE_ID belongs to the user $holder" "give $holder another uid: usermod -u"
    fi
    if [ -n "$number" ] && [ "$number" != "$ONE_ID" ]; then
        problem "the user $ONE_USER has uid $number, not $ONE_ID" "usermod -u $ONE_ID $ONE_USER and change the owner of its files"
    fi
    holder=$(bounded 30 getent group "$ONE_ID" | cut -d: -f1)
    number=$(bounded 30 getent group "$ONE_USER" | cut -d: -f3)
    if [ -n "$holder" ] && [ "$holder" != "$ONE_USER" ]; then
        problem "gid $ONE_ID belongs to the group $holder" "give $holder another gid: groupmod -g"
    fi
    if [ -n "$number" ] && [ "$number" != "$ONE_ID" ]; then
        problem "the group $ONE_USER has gid $number, not $ONE_ID" "groupmod -g $ONE_ID $ONE_USER and change the group of its files"
    fi
}

account() {
    entry=$(bounded 30 getent passwd "$ONE_USER") || die "the package made no user $ONE_USER" "reinstall the node package"
    expected=$ONE_ID:$ONE_ID:$ONE_HOME
    found=$(printf '%s' "$entry" | awk -F: '{ print $3 ":" $4 ":" $6 }')
    if [ "$found" != "$expected" ]; then
        die "$ONE_USER is uid:gid:home $found, not $expected" "correct it with usermod and groupmod on the host"
    fi
    case $entry in
        */nologin | */false) die "$ONE_USER has no login shell" "usermod -s /bin/bash $ONE_USER on the host" ;;
    esac
    if [ "$(stat -c '%U:%G' "$ONE_HOME")" != "$ONE_OWNER" ]; then
        die "$ONE_HOME belongs to $(stat -c '%U:%G' "$ONE_HOME")" "chown $ONE_OWNER $ONE_HOME on the host"
    fi
    # sshd without PAM refuses an account whose password starts with "!", also with a key; "*" fits no password either
    case $(bounded 30 getent shadow "$ONE_USER" | cut -d: -f2) in
        '!'*)
            limited 60 usermod -p '*' "$ONE_USER" ||
                die "the account of $ONE_USER cannot be unlocked: $(last_words)" "usermod -p '*' $ONE_USER on the host"
            changed
            ;;
    esac
}

authorized_keys() {
    if [ -L "$ONE_SSH" ]; then
        die "$ONE_SSH is a symbolic link" 'replace it by a directory'
    fi
    if [ ! -d "$ONE_SSH" ]; then
        place "$ONE_SSH" install -d -o "$ONE_USER" -g "$ONE_USER" -m 0700 "$ONE_SSH"
        changed
    fi
    put_block "$ONE_SSH/authorized_keys" "$ONE_OWNER" 0600 bottom "$PLAN_AUTHORIZED_KEYS"
}

# Ours stands first in the client's config, because ssh takes the first value it finds.
known_hosts() {
    if [ -n "$PLAN_KNOWN_HOSTS" ]; then
        put_text "$ONE_SSH/known_hosts_control_plane" "$ONE_OWNER" 0644 "$PLAN_KNOWN_HOSTS"
    else
        drop_file "$ONE_SSH/known_hosts_control_plane"
    fi
    put_block "$ONE_SSH/config" "$ONE_OWNER" 0600 top "$PLAN_SSH_CONFIG"
}

# /var/tmp is everybody's, and sudoers names paths below /var/tmp/one: whoever owns it is root.
directories() {
    for directory in /var/tmp/one /var/tmp/one_db; do
        if [ -L "$directory" ] || { [ -e "$directory" ] && [ ! -d "$directory" ]; }; then
            die "$directory is no directory" "rm $directory on the host"
        fi
        if [ ! -d "$directory" ]; then
            place "$directory" install -d -o "$ONE_USER" -g "$ONE_USER" -m 0755 "$directory"
            changed
            continue
        fi
        owner=$(stat -c '%U' "$directory")
        case $owner in
            "$ONE_USER") ;;
            root)
                chown -hR "$ONE_OWNER" "$directory"
                changed
                ;;
            *) die "$directory belongs to $owner" "look into it, then rm -r $directory on the host" ;;
        esac
        if [ -n "$(find "$directory" -maxdepth 0 -perm /022)" ]; then
            chmod go-w "$directory"
            changed
        fi
    done
}

# What the package should have done, each looked at and told together.
account_checks() {
    for program in ruby rsync sudo; do
        have "$program" || problem "$program is missing" "install $program on the host"
    done
    for file in /etc/sudoers.d/opennebula "/etc/sudoers.d/opennebula-node-$PLAN_KIND"; do
        [ -f "$file" ] || problem "the package's $file is missing" 'reinstall the node package'
    done
    report=$(bounded 60 visudo -c 2>&1) || problem "sudoers is broken: $(printf '%s' "$report" | one_line)" 'visudo -c on the host'
    case $(bounded 60 sudo -n -l -U "$ONE_USER" 2>&1) in
        *NOPASSWD*) ;;
        *) problem "$ONE_USER may run nothing by sudo" "sudo -l -U $ONE_USER on the host" ;;
    esac
    report=$(as_oneadmin ruby -e "require 'load_opennebula_paths'" 2>&1) ||
        problem "ruby does not find load_opennebula_paths: $(printf '%s' "$report" | one_line)" 'reinstall opennebula-common'
    if [ -n "$(find "$ONE_HOME" "$ONE_SSH" -maxdepth 0 -perm /022)" ]; then
        problem "$ONE_HOME or $ONE_SSH is writable by others, so sshd ignores its keys" "chmod go-w $ONE_HOME $ONE_SSH"
    fi
}
