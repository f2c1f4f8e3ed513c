#!/usr/bin/env bash
# A read replica: copies the primary when it is empty, then follows it. One that was away for longer than the primary keeps its
# log (wal_keep_size) has to begin anew: remove its volume.
set -euo pipefail
export PGPASSWORD=$(<"$POSTGRES_PASSWORD_FILE") PGDATA=${PGDATA:-/var/lib/postgresql/data}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  rm -rf "${PGDATA:?}"/*
  pg_basebackup --host=postgres --username=postgres --pgdata="$PGDATA" --wal-method=stream --write-recovery-conf --checkpoint=fast
  chmod 700 "$PGDATA"
fi
exec postgres -c hot_standby=on "$@"
