#!/bin/sh
# source.sh REPOSITORY SUITE COMPONENT: apt's list with OpenNebula's repository, which stands in every image.
set -eu
list=/etc/apt/sources.list.d/opennebula.list

fail() {
    printf 'images: ERROR: %s\n' "$*" >&2
    exit 1
}

# The list is in a layer, and build arguments are in the history: whoever pulls the image reads both.
case $1 in
*@*) fail "REPOSITORY has a login in it, before the @. Give it without, and the login by --secret id=apt-auth,src=FILE with FILE as apt's auth.conf has it: machine … login … password …" ;;
esac
printf 'deb [signed-by=/etc/apt/keyrings/opennebula.gpg] %s %s %s\n' "$1" "$2" "$3" >"$list"
