#!/bin/sh
set -eu
echo "HOSTNAME=\"$(uname -n)\""
