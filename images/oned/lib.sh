# shellcheck shell=sh disable=SC2034
# Shared by the entrypoints of the oned pod. Sourced, never run.
#
# Paths are OpenNebula's own. Secrets come from mounted files and leave them only into files under /run/one (memory) or
# the home volume with mode 0600: never into an argument, the environment or the log.

ONE_HOME=/var/lib/one
RUN=/run/one
SECRETS=/run/secrets/one
MARKER=$ONE_HOME/.one/first-boot-done

say() { printf '%s %s: %s\n' "$(date -u +%FT%TZ)" "${0##*/}" "$*"; }

# The last words reach `kubectl describe` and the waits of `pulumi up` through the termination message.
fail() {
    say "ERROR: $*" >&2
    printf '%s\n' "$*" >/dev/termination-log 2>/dev/null || true
    exit 1
}

# write_secret FILE: standard input into FILE, mode 0600, atomically (a kill leaves the old file or the new one).
write_secret() {
    (umask 077 && cat >"$1.new") && mv -f "$1.new" "$1"
}

xml_escape() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g'; }

# rpc CREDENTIAL_FILE METHOD [TYPE VALUE]...: one XML-RPC call to this pod's oned. Types: i4, file (a string read from a
# file). 0 = oned said yes; 1 = oned said no; 2 = no answer. RPC_ERROR has the reason.
rpc() {
    rpc_dir=$(mktemp -d "$RUN/rpc.XXXXXX")
    {
        printf '<?xml version="1.0"?><methodCall><methodName>%s</methodName><params>' "$2"
        printf '<param><value><string>%s</string></value></param>' "$(head -n 1 "$1" | xml_escape)"
        shift 2
        while [ $# -ge 2 ]; do
            case $1 in
            i4) printf '<param><value><i4>%s</i4></value></param>' "$2" ;;
            file) printf '<param><value><string>%s</string></value></param>' "$(xml_escape <"$2")" ;;
            esac
            shift 2
        done
        printf '</params></methodCall>'
    } >"$rpc_dir/request"
    if curl --silent --show-error --fail --max-time 10 --header 'Content-Type: text/xml' \
        --data-binary "@$rpc_dir/request" --output "$rpc_dir/answer" http://127.0.0.1:2633/RPC2 2>"$rpc_dir/error"; then
        if grep -q '<boolean>1</boolean>' "$rpc_dir/answer"; then
            rpc_code=0
            RPC_ERROR=
        else
            rpc_code=1
            RPC_ERROR=$(tr -d '\n' <"$rpc_dir/answer" | sed -n 's/^.*<string>\([^<]*\)<\/string>.*$/\1/p' | head -c 300)
        fi
    else
        rpc_code=2
        RPC_ERROR=$(head -c 300 "$rpc_dir/error")
    fi
    rm -rf "$rpc_dir"
    return $rpc_code
}
