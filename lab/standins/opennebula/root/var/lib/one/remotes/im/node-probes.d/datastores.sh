#!/bin/sh
# Space under the datastore location, which the user must be able to make. Megabytes.
set -eu

location=$(sed -n 's:.*<DATASTORE_LOCATION>\([^<]*\)</DATASTORE_LOCATION>.*:\1:p')
location=${location:-/var/lib/one/datastores}
mkdir -p "$location"
df -P -m "$location" | awk 'NR == 2 {
    print "DS_LOCATION_USED_MB=" $3 "\nDS_LOCATION_TOTAL_MB=" $2 "\nDS_LOCATION_FREE_MB=" $4
}'
