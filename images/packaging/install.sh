#!/bin/sh
# Installs packages into an image and takes out again what they invent and nobody should share.
#
#   install.sh debian PACKAGE...
#   install.sh opennebula UID VERSION PACKAGE... [with PATH... of OTHER]
#                                                      with oneadmin's account under that number
#
# `with`: files and directories that a daemon reads and the package OTHER has; OTHER itself is not installed, with its
# daemon and all that it needs. What is there already is left as it is.
set -eu
kind=$1
shift

fail() {
    printf 'images: ERROR: %s\n' "$*" >&2
    exit 1
}

# OpenNebula's packages take an account that is there already, and give it their files.
oneadmin() {
    groupadd --system --gid "$1" oneadmin
    useradd --system --uid "$1" --gid oneadmin --home-dir /var/lib/one --no-create-home --shell /bin/bash oneadmin
}

# Every package of OpenNebula is of the version that was asked for; the migrators are not there.
check() {
    found=$(dpkg-query --show --showformat '${db:Status-Status} ${Package} ${Version}\n' 'opennebula*' | grep '^installed ') ||
        fail "no package of OpenNebula was installed"
    printf '%s\n' "$found" | while read -r _ package version; do
        case $version in
        "$1" | "$1"[.-]*) ;;
        *) fail "$package is $version, not $1: is the repository the one of $1?" ;;
        esac
        case $package in
        opennebula-migration*) fail "$package was installed: its licence forbids to hand it on, and no daemon needs it" ;;
        esac
    done
}

# split WORD...: sets packages, paths and other.
split() {
    packages=
    paths=
    other=
    while [ $# -gt 0 ] && [ "$1" != with ]; do
        packages="$packages $1"
        shift
    done
    [ $# -gt 0 ] || return 0
    shift
    while [ $# -gt 0 ] && [ "$1" != of ]; do
        paths="$paths ${1#/}"
        shift
    done
    [ $# -eq 2 ] || fail "with PATH... of PACKAGE"
    other=$2
}

# The package comes through apt, which compares it with the signed index.
take() {
    [ -n "$other" ] || return 0
    mkdir /build/other
    (cd /build/other && apt-get download "$other")
    found=$(dpkg-deb --field /build/other/*.deb Version)
    case $found in
    "$1" | "$1"[.-]*) ;;
    *) fail "$other is $found, not $1: is the repository the one of $1?" ;;
    esac
    dpkg-deb --fsys-tarfile /build/other/*.deb >/build/other/files.tar
    tar -t -f /build/other/files.tar >/build/other/names
    wanted=
    for path in $paths; do
        if grep -qFx -e "./$path" -e "./$path/" /build/other/names; then
            wanted="$wanted ./$path"
        elif [ ! -e "/$path" ]; then # in other versions one of the packages that are installed may have it
            fail "$other $found has no /$path"
        fi
    done
    [ -n "$wanted" ] || return 0
    # shellcheck disable=SC2086 # several paths
    tar -x -f /build/other/files.tar -C / --no-same-owner --skip-old-files $wanted
}

# In the same step as the installation: a later one would only hide it in the layer below.
clean() {
    rm -f /usr/sbin/policy-rc.d /etc/ssh/ssh_host_*
    rm -rf /var/lib/one/.one /var/lib/one/.ssh
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /tmp/* /var/tmp/* /root/.gnupg
    : >/etc/machine-id
    # What only tells when this was run: the same packages shall make the same layer tomorrow.
    rm -f /var/cache/ldconfig/aux-cache
    sed -i 's/^\([^:]*:[^:]*:\)[0-9]*:/\1:/' /etc/shadow
    rm -f /etc/shadow-
}

case $kind in
debian) ;;
opennebula)
    uid=$1
    version=$2
    shift 2
    oneadmin "$uid"
    split "$@"
    # shellcheck disable=SC2086 # several packages
    set -- $packages
    ;;
*) fail "install.sh debian|opennebula …" ;;
esac

# Nothing runs here that a package could start.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends "$@"

if [ "$kind" = opennebula ]; then
    check "$version"
    take "$version"
fi
clean
if [ "$kind" = opennebula ]; then
    # Where volumes are mounted; and /etc/one, which packages close to all but oneadmin's group.
    install -d -o "$uid" -g "$uid" -m 0750 /var/lib/one /var/log/one /run/one /var/lock/one
    if [ -d /etc/one ]; then chgrp -R "$uid" /etc/one; fi
    rm -rf /build
fi
