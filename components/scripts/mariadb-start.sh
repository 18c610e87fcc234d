#!/bin/sh
# Start of the MariaDB pod. Works in any image that carries the standard server binaries; brought by a ConfigMap.
#
# Safe to kill at any moment: the data directory appears under its real name only when it is complete. Accounts and
# passwords are set at every start from the Secret (--init-file, before the first connection is accepted), so a new
# password is a restart and a database restored from elsewhere gets this stack's account.
#
# An account of a former opennebula:database.user is dropped: a record beside the data names those that a start has made
# its own, written before the server makes them. Nobody else's are touched.
set -eu

DATA=/var/lib/mysql/data
NEW=/var/lib/mysql/data.new
ACCOUNTS=/var/lib/mysql/accounts
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

umask 077
if ! grep -qxF "$DATABASE_USER" "$ACCOUNTS" 2>/dev/null; then
    { cat "$ACCOUNTS" 2>/dev/null || true; printf '%s\n' "$DATABASE_USER"; } >"$ACCOUNTS.new"
    mv "$ACCOUNTS.new" "$ACCOUNTS"
fi

# In the schema of a GRANT `_` stands for any one character; elsewhere it stands for itself.
# https://mariadb.com/kb/en/grant/#database-privileges
granted=$(printf '%s' "$DATABASE_NAME" | sed 's/_/\\_/g')

# One statement a line: mariadbd silently drops what follows on the same line. The file lives in memory.
{
    printf "CREATE DATABASE IF NOT EXISTS \`%s\` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n" "$DATABASE_NAME"
    printf "CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY '%s';\n" "$DATABASE_USER" "$password"
    printf "ALTER USER '%s'@'%%' IDENTIFIED BY '%s';\n" "$DATABASE_USER" "$password"
    # At every level and of every schema: what an older start granted goes with it, unescaped or of a former database.name.
    printf "REVOKE ALL PRIVILEGES, GRANT OPTION FROM '%s'@'%%';\n" "$DATABASE_USER"
    printf "GRANT ALL PRIVILEGES ON \`%s\`.* TO '%s'@'%%';\n" "$granted" "$DATABASE_USER"
    while read -r account; do
        case $account in
        "$DATABASE_USER" | '' | *[!a-z0-9_]*) ;;
        *)
            say "dropping $account, the account of a former opennebula:database.user" >&2
            printf "DROP USER IF EXISTS '%s'@'%%';\n" "$account"
            ;;
        esac
    done <"$ACCOUNTS"
    printf "DELETE FROM mysql.global_priv WHERE User='';\n"
    printf "FLUSH PRIVILEGES;\n"
} >"$INIT"

exec mariadbd --defaults-file=/etc/one-mariadb/my.cnf --datadir="$DATA" --init-file="$INIT"
