#!/bin/bash
# Makes secrets/ beside this file: a password for each role at NATS, an authority, certificates for a year, auth files to fill in. What is
# there already is kept. Needs openssl, and runcast on PATH for the keys.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets

if [[ ! -e nats-passwords.env ]]; then
  for role in router edge admin; do echo "$role=$(openssl rand -hex 24)"; done >nats-passwords.env
fi

if [[ ! -e ca.crt ]]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Runcast" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout ca.key -out ca.crt 2>/dev/null
fi

# certificate NAME DNS-NAME...
certificate() {
  local name=$1 names
  shift
  [[ ! -e $name.crt ]] || return 0
  names=$(printf ',DNS:%s' "$@")
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$name.key" -out "$name.csr" 2>/dev/null
  openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$name.crt" 2>/dev/null \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "${names#,}")
  rm "$name.csr"
}
certificate nats nats-0.nats nats-1.nats nats-2.nats
certificate router runcast-router runcast-router.runcast runcast-router.runcast.svc
certificate edge runcast-edge runcast-edge.runcast runcast-edge.runcast.svc
certificate admin runcast-admin runcast-admin.runcast runcast-admin.runcast.svc

# The keys themselves are shown this once, below each entry, as comments: hand them on, and take the lines away.
[[ -e router-auth.toml ]] || runcast key analyst --tenant acme --group support >router-auth.toml
[[ -e admin-auth.toml ]] || runcast key operator --role view,operate >admin-auth.toml
[[ -e edge-auth.toml ]] || cat >edge-auth.toml <<'TOML'
# Whom your users log in with: docs/users.md.
[[issuers]]
name = "login"
issuer = "https://login.example.com/"
audience = ["runcast"]
algorithms = ["RS256", "ES256"]
jwks_url = "https://login.example.com/.well-known/jwks.json"
tenant = "acme"
lifetime_max_s = 3600
TOML

echo "deploy/kubernetes/example/secrets: fill in edge-auth.toml; take the keys out of router-auth.toml and admin-auth.toml, and hand them on"
