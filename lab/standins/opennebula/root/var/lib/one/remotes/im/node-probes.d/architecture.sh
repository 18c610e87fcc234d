#!/bin/sh
set -eu
echo "ARCH=\"$(uname -m)\""
