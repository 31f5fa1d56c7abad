#!/bin/sh
# Makes the data directory at the first start, then becomes PostgreSQL as user 999, as the official image does.
set -eu

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
as_postgres='setpriv --reuid=999 --regid=999 --clear-groups'

chown 999:999 "$PGDATA"
chmod 0700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    $as_postgres initdb --no-sync --no-locale --encoding=UTF8 --auth=trust --username="$user" >/dev/null
    if [ "$database" != postgres ]; then
        printf 'CREATE DATABASE "%s"\n' "$database" | $as_postgres postgres --single -F postgres >/dev/null
    fi
    printf "listen_addresses = '*'\nfsync = off\n" >>"$PGDATA/postgresql.conf"
fi
exec $as_postgres "$@"
