#!/bin/sh
# Makes what compose needs and nobody else may know, in deploy/secrets/ (which git leaves alone): the secret that signs tokens,
# PostgreSQL's password and Grafana's, a database for each module with a login of its own, and a certificate that no browser trusts, to be
# replaced by a real one. What is there already stays. The folder is closed, so its files may be read by the containers' users.
set -eu
cd "$(dirname "$0")"
mkdir -p -m 700 secrets && cd secrets
umask 022
keep() { [ -s "$1" ] || printf '%s\n' "$2" >"$1"; }
keep secret "$(openssl rand -hex 32)"
keep postgres-password "$(openssl rand -hex 24)"
keep grafana-password "$(openssl rand -hex 12)"
for module in users posts notifications; do
  keep "$module-database-url" "postgres://$module:$(openssl rand -hex 24)@postgres:5432/$module"
done
[ -s tls.crt ] || {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj "/CN=${1:-localhost}" \
    -addext "subjectAltName=DNS:${1:-localhost},IP:127.0.0.1" -keyout tls.key -out tls.crt 2>/dev/null
  chmod 644 tls.key
}
cat tls.crt tls.key >tls.pem
