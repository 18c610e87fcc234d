#!/bin/sh
# Readiness of the MariaDB pod: oned's account logs in the way oned does, over TCP, and finds its schema. A ping tells less:
# it is content with a server that refuses every login. The password reaches the client as an option file that is a pipe:
# arguments and environments can be read from outside of the container. Option files read backslashes as escapes.
set -eu

password=$(sed 's/\\/\\\\/g' /run/secrets/mariadb/password)
printf '!include /etc/one-mariadb/my.cnf\n[client]\npassword="%s"\n' "$password" |
    mariadb --defaults-file=/dev/stdin --protocol=tcp --host=127.0.0.1 --user="$DATABASE_USER" \
        --connect-timeout=4 --execute="DO 1" "$DATABASE_NAME"
