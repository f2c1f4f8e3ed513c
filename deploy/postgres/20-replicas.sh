#!/usr/bin/env bash
# Runs once, on an empty server: replicas may follow it, and each has a slot that keeps what it has not read yet.
set -euo pipefail
printf '\nhost replication all samenet scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
