#!/bin/sh
# Where libvirtd runs it must answer oneadmin. Where it does not run, nothing is missed: a rehearsal host has no hardware
# virtualisation, and the real probe's lists of machine types and CPU models are left out altogether.
set -eu

if [ -S /run/libvirt/libvirt-sock ] && ! virsh -c qemu:///system version >/dev/null; then
    echo "Check Libvirtd service is up." >&2
    exit 1
fi
