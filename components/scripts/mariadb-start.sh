#!/bin/sh
# Start of the MariaDB pod. Works in any image that carries the standard server binaries; brought by a ConfigMap.
#
# Safe to kill at any moment: the data directory appears under its real name only when it is complete. Accounts and
# passwords are set at every start from the Secret (--init-file, before the first connection is accepted), so a new
# password is a restart and a database restored from elsewhere gets this stack's account.
set -eu

DATA=/var/lib/mysql/data
NEW=/var/lib/mysql/data.new
INIT=/run/mysqld/accounts.sql

say() { printf '%s mariadb-start: %s\n' "$(date -u +%FT%TZ)" "$*"; }
fail() {
    say "ERROR: $*" >&2
    printf '%s\n' "$*" >/dev/termination-log 2>/dev/null || true
    exit 1
}

password=$(cat /run/secrets/mariadb/password)
case $password in
'' | *[!A-Za-z0-9]*) fail "the database password must be letters and digits only: set opennebula:databasePassword accordingly" ;;
esac

if [ ! -d "$DATA" ]; then
    say "creating the data directory"
    rm -rf "$NEW"
    mkdir -p "$NEW"
    # root and the server's own account log in over the socket as this container's user only; nobody logs in as root
    # over the network, and there is no test database.
    mariadb-install-db --defaults-file=/etc/one-mariadb/my.cnf --datadir="$NEW" \
        --auth-root-authentication-method=socket --auth-root-socket-user=mysql --skip-test-db >/tmp/install.log 2>&1 ||
        fail "mariadb-install-db: $(tail -n 3 /tmp/install.log | tr '\n' ' ')"
    sync
    mv "$NEW" "$DATA"
fi

# One statement a line: mariadbd silently drops what follows on the same line. The file lives in memory.
umask 077
{
    printf "CREATE DATABASE IF NOT EXISTS \`%s\` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n" "$DATABASE_NAME"
    printf "CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY '%s';\n" "$DATABASE_USER" "$password"
    printf "ALTER USER '%s'@'%%' IDENTIFIED BY '%s';\n" "$DATABASE_USER" "$password"
    printf "REVOKE ALL PRIVILEGES, GRANT OPTION FROM '%s'@'%%';\n" "$DATABASE_USER"
    printf "GRANT ALL PRIVILEGES ON \`%s\`.* TO '%s'@'%%';\n" "$DATABASE_NAME" "$DATABASE_USER"
    printf "DELETE FROM mysql.global_priv WHERE User='';\n"
    printf "FLUSH PRIVILEGES;\n"
} >"$INIT"

exec mariadbd --defaults-file=/etc/one-mariadb/my.cnf --datadir="$DATA" --init-file="$INIT"
