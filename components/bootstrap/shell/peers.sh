#!/bin/sh
# How oneadmin of this host reaches the other hosts, and by which keys it knows them: two whole files of ours beside its own
# ssh configuration, which includes the one (known_hosts in account.sh). Whom they do not name is reached as before. And an end
# to monitoring clients of a number that is not this host's any more.

peers() {
    if [ "$(id -u)" -ne 0 ]; then
        die 'this must run as root' 'give the login user passwordless sudo'
    fi
    begin
    step peers
    if [ ! -d "$ONE_SSH" ] || [ -L "$ONE_SSH" ]; then
        die "there is no $ONE_SSH: the host is not prepared" 'pulumi up --replace its preparation'
    fi
    put_text "$ONE_SSH/known_hosts_hypervisors" "$ONE_OWNER" 0644 "$PLAN_KNOWN_HOSTS"
    put_text "$ONE_SSH/config_hypervisors" "$ONE_OWNER" 0600 "$PLAN_SSH_CONFIG"
    step numbers
    end_misnumbered
    printf '{"changed": %s}\n' "$(if [ -n "$CHANGES" ]; then printf true; else printf false; fi)"
}

# misnumbered: processes of oneadmin that are monitoring clients (`… monitord-client.rb DRIVER NUMBER NAME`) and contradict
# PLAN_NUMBERS (`NUMBER NAME` a line): their name has another number, or their number another name. Whom it does not mention is left.
misnumbered() {
    find /proc -maxdepth 1 -name '[0-9]*' -user "$ONE_ID" 2>/dev/null | while read -r place; do
        # a process may end while it is looked at
        words=$(tr '\0' ' ' 2>/dev/null <"$place/cmdline") || continue
        case $words in
            *monitord-client.rb\ *) ;;
            *) continue ;;
        esac
        printf '%s %s\n' "${place#/proc/}" "${words##*monitord-client.rb }"
    done | PLAN_NUMBERS=$PLAN_NUMBERS awk '
        BEGIN {
            many = split(ENVIRON["PLAN_NUMBERS"], line, "\n")
            for (at = 1; at <= many; at++) {
                split(line[at], word, " ")
                name_of[word[1]] = word[2]
                number_of[word[2]] = word[1]
            }
        }
        ($3 in name_of && name_of[$3] != $4) || ($4 in number_of && number_of[$4] != $3) { print $1 }
    '
}

end_misnumbered() {
    tries=0
    while found=$(misnumbered) && [ -n "$found" ]; do
        tries=$((tries + 1))
        if [ "$tries" -eq 1 ]; then
            changed
        elif [ "$tries" -gt 50 ]; then
            die "monitoring clients do not end: $(printf '%s' "$found" | one_line)" 'ps on the host, then run it again'
        fi
        # As OpenNebula's own control script does it: a client has nothing to finish.
        # shellcheck disable=SC2086 # numbers
        kill -s KILL $found 2>/dev/null || true
        sleep 0.1
    done
}
