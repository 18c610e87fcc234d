#!/bin/sh
# keyring.sh FINGERPRINT KEY KEYRING: the armored key as apt takes it, if it is the one that the operator expects.
set -eu
wanted=$(printf '%s' "$1" | tr -d ' ' | tr 'a-f' 'A-F')
key=$2
keyring=$3

fail() {
    printf 'images: ERROR: %s\n' "$*" >&2
    exit 1
}

case $wanted in
*[!0-9A-F]*) fail "KEY_FINGERPRINT is no fingerprint" ;;
esac
[ "${#wanted}" -eq 40 ] || fail "KEY_FINGERPRINT must be the full one, 40 digits (gpg --show-keys prints it)"
if ! command -v gpg >/dev/null; then
    apt-get update
    apt-get install --yes --no-install-recommends gpg
fi
found=$(gpg --batch --with-colons --show-keys "$key" | awk -F: '$1 == "pub" { first = 1 } $1 == "fpr" && first { print $10; first = 0 }')
[ "$found" = "$wanted" ] || fail "the packages' key has the fingerprint $found, not $wanted; nothing was installed"
gpg --batch --yes --dearmor --output "$keyring" "$key"
chmod 0644 "$keyring"
