#!/bin/sh
# LXC is asked as the real probe asks it: as root, through the sudo rule of the node package.
set -eu

sudo -n lxc-ls >/dev/null
