#!/bin/sh
# Becomes RabbitMQ as user 999, as the official image does.
set -eu

chown 999:999 /var/lib/rabbitmq
exec setpriv --reuid=999 --regid=999 --clear-groups "$@"
