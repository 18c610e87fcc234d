#!/bin/sh
# Rehearsal stand-in: downloads for datastores and, when a browser asks for an app of a marketplace, for FireEdge. There are no
# images and no marketplaces in the rehearsal.
echo "rehearsal stand-in: nothing to download from $*" >&2
exit 1
