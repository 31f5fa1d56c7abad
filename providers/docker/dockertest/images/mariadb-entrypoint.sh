#!/bin/sh
# Makes the data directory and the accounts at the first start, then becomes MariaDB.
set -eu

data=/var/lib/mysql
small='--innodb-log-file-size=4M --innodb-buffer-pool-size=8M --innodb-flush-log-at-trx-commit=0'
if [ ! -d "$data/mysql" ]; then
    {
        printf 'CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\nSET @skip_auth_anonymous=1;\n' # one a line
        cat /usr/share/mysql/mysql_system_tables.sql /usr/share/mysql/mysql_performance_tables.sql /usr/share/mysql/mysql_system_tables_data.sql
    } | mariadbd --no-defaults --bootstrap --datadir="$data" $small
fi
printf '%s\n' "${MARIADB_INIT:-}" >/tmp/init.sql
exec "$@" --no-defaults --datadir="$data" $small --socket=/run/mysqld/mysqld.sock --init-file=/tmp/init.sql --skip-name-resolve --skip-log-bin \
    --port=8443 --ssl-cert=/certs/cert.pem --ssl-key=/certs/key.pem --ssl-ca=/certs/ca.pem
