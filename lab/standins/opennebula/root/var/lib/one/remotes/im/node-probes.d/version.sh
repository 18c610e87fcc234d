#!/bin/sh
# Version of the remotes tree that this host runs.
set -eu
echo "VERSION=\"$(tail -n 1 "$(dirname "$0")/../../../../VERSION")\""
