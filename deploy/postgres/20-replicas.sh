#!/usr/bin/env bash
# Runs once, on an empty server: replicas of the same network may follow it.
set -euo pipefail
printf '\nhost replication all samenet scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
