#!/usr/bin/env bash
# Runs once, on an empty server: each module gets a login of its own that owns a database of its own. Nothing is shared, so a
# module's database can move to another server any day. CREATEROLE is for the role that a module's statements run under.
set -euo pipefail
for module in users posts notifications; do
  url=$(<"/run/secrets/$module-database-url")
  password=${url#*//*:}
  password=${password%%@*}
  psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$POSTGRES_USER" -d postgres -v module="$module" -v password="$password" <<'SQL'
    create role :"module" login createrole password :'password';
    create database :"module" owner :"module";
    revoke all on database :"module" from public;
SQL
done
