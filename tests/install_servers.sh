#!/bin/sh
# Installs the servers that the tests start, where they are missing, with the system's packages.
set -eu
missing=
add() { # PROGRAM PACKAGE
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" > /dev/null || missing="$missing $2"
}
if command -v apt-get > /dev/null; then
    add mosquitto mosquitto
    add nats-server nats-server
    add redis-server redis-server
    ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || missing="$missing postgresql"
    [ -n "$missing" ] || exit 0
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -q
    $as_root apt-get install -q -y --no-install-recommends $missing
elif command -v brew > /dev/null; then
    add mosquitto mosquitto
    add nats-server nats-server
    add redis-server redis
    add initdb postgresql
    [ -z "$missing" ] || brew install $missing
else
    echo "install mosquitto, nats-server, redis-server and PostgreSQL for the tests" >&2
    exit 1
fi
