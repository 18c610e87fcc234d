#!/bin/sh
# How oneadmin of this host reaches the other hosts, and by which keys it knows them: two whole files of ours beside its own
# ssh configuration, which includes the one (known_hosts in account.sh). Whom they do not name is reached as before.

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
    printf '{"changed": %s}\n' "$(if [ -n "$CHANGES" ]; then printf true; else printf false; fi)"
}
