#!/usr/bin/env bash
#
# nginx in front of an application, as cluster/nginx/tallykeep.conf has it: scripts/test-nginx.sh
#
# A real nginx (Debian's), a node, and an application of three lines: requests over the limit are answered 429 with
# their headers, a node that is gone is passed over, and without any node requests go through, or not, as the
# file says. Ports are others than the file's. Where there is no nginx and none can be had, a line says so.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh
# shellcheck source=scripts/lib/clients.sh
source scripts/lib/clients.sh
# shellcheck source=scripts/lib/debian.sh
source scripts/lib/debian.sh

if ! { nginx=$(debian_program nginx usr/sbin/nginx) && "$nginx" -v 2>/dev/null; }; then
  echo "nginx: NOT tested: it is not installed (Debian: nginx)"
  exit 0
fi
have python3 || { echo "nginx: NOT tested: the application of this test needs python3"; exit 0; }
ensure_binary || exit 1
binary=${TALLYKEEP_BIN:-$(target_dir)/release/tallykeep}

folder=$(mktemp -d)
pids=()
finish() {
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT

fail() {
  echo "error: $*" >&2
  for log in "$folder"/*.log; do
    echo "-- ${log##*/}:" >&2
    tail -n 15 "$log" >&2
  done
  exit 1
}

# Seven ports that nobody has.
mapfile -t ports < <(python3 - <<'END'
import socket
sockets = [socket.socket() for _ in range(7)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
for one in sockets:
    print(one.getsockname()[1])
END
)
node=${ports[0]} peer=${ports[1]} dead1=${ports[2]} dead2=${ports[3]}
front=${ports[4]} adapter=${ports[5]} application=${ports[6]}

cat >"$folder/node.toml" <<END
cluster = "nginx-test"
id = 1
data = "data"
[[nodes]]
id = 1
http = "127.0.0.1:$node"
peer = "127.0.0.1:$peer"
END

# The example with this test's ports: two of the three nodes are not there. $1: what @unknown says.
configure() {
  {
    echo "worker_processes 1; daemon off; pid $folder/nginx.pid; error_log $folder/nginx.log notice;"
    # The folder is of whoever runs this, and nginx would work as another user.
    [ "$(id -u)" != 0 ] || echo "user root;"
    echo "events { worker_connections 64; }"
    echo "http { access_log off;"
    for kind in client_body proxy fastcgi uwsgi scgi; do
      echo "${kind}_temp_path $folder/$kind;"
    done
    sed -e "s/127.0.0.1:7001/127.0.0.1:$dead1/; s/127.0.0.1:7002/127.0.0.1:$node/" \
      -e "s/127.0.0.1:7003/127.0.0.1:$dead2/; s/127.0.0.1:9000/127.0.0.1:$application/" \
      -e "s/listen 8080/listen 127.0.0.1:$front/; s/127.0.0.1:8079/127.0.0.1:$adapter/" \
      -e "s/return 204/return $1/" cluster/nginx/tallykeep.conf
    echo "}"
  } >"$folder/nginx.conf"
}

start_node() {
  "$binary" serve --config "$folder/node.toml" >>"$folder/node.log" 2>&1 &
  node_pid=$!
  pids+=("$node_pid")
  "$binary" status --endpoint "http://127.0.0.1:$node" --wait-ready 20 >/dev/null ||
    fail "the node is not ready"
}

stop_node() {
  kill "$node_pid"
  wait "$node_pid" || fail "the node did not stop well"
}

# Waits until something answers at port $1.
wait_for() {
  local deadline=$((SECONDS + 20))
  until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || fail "nothing listens at $1"
    sleep 0.05
  done
}

# Asks for path $1 with curl's further arguments, and leaves head and body in $answer, the status in $status.
ask() {
  answer=$(curl --silent --show-error --include --max-time 20 "http://127.0.0.1:$1" "${@:2}") ||
    fail "no answer"
  answer=${answer//$'\r'/}
  status=${answer#* }
  status=${status%% *}
}

expect() { [ "$status" = "$1" ] || fail "$status, not $1: $2"$'\n'"$answer"; }
has() { grep -iq "^$1" <<<"$answer" || fail "no '$1' in"$'\n'"$answer"; }
lacks() { ! grep -iq "^$1" <<<"$answer" || fail "'$1' in"$'\n'"$answer"; }

cat >"$folder/application.py" <<'END'
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        said = self.rfile.read(length)
        status = 403 if self.path == "/forbidden" else 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(said) + 12))
        self.end_headers()
        self.wfile.write(b"application:" + said)
    do_POST = do_GET
    def log_message(self, *_): pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
END
python3 "$folder/application.py" "$application" >"$folder/application.log" 2>&1 &
pids+=($!)
start_node
configure 204
"$nginx" -p "$folder" -t -q -c "$folder/nginx.conf" 2>>"$folder/nginx.log" || fail "nginx -t"
"$nginx" -p "$folder" -c "$folder/nginx.conf" 2>>"$folder/nginx.log" &
nginx_pid=$!
pids+=("$nginx_pid")
wait_for "$front"
wait_for "$application"

# Within the limit, with nodes of which two are gone; the body reaches the application, and a client's own
# Idempotency-Key does not reach tallykeep, or all would get the first answer.
for left in 4 3 2; do
  ask "$front/" --data hello --header 'Idempotency-Key: "again"'
  expect 200 "within the limit"
  has "application:hello"
  has "X-RateLimit-Limit: 5"
  has "X-RateLimit-Remaining: $left"
  lacks "Retry-After"
done
# The application's own 403 is its own.
ask "$front/forbidden"
expect 403 "the application's"
has "application:"
ask "$front/"
expect 200 "the last of five"
has "X-RateLimit-Remaining: 0"
for _ in 1 2; do
  ask "$front/"
  expect 429 "over the limit"
  has "Retry-After: [1-9]"
  has "X-RateLimit-Limit: 5"
  has "X-RateLimit-Remaining: 0"
  has "X-RateLimit-Reset: 20"
  has '{"error":"Too Many Requests","retryAfter":[1-9]'
  lacks "application:"
done
echo "limit: 5 admitted, the rest 429 with Retry-After and X-RateLimit-*"

# As Traefik and Envoy ask: the last address counts, and every answer is tallykeep's own.
for left in 4 3 2 1 0; do
  ask "$adapter/any/path?query" --header 'X-Forwarded-For: "},{, 10.9.8.7'
  expect 200 "within the limit"
  has "X-RateLimit-Remaining: $left"
done
ask "$adapter/" --header 'X-Forwarded-For: 10.9.8.7'
expect 429 "over the limit"
has "Retry-After: [1-9]"
has '{"allowed":false'
ask "$adapter/" --header 'X-Forwarded-For: 10.9.8.6'
expect 200 "another address"
echo "adapter: GET becomes POST /check, answers go through as they are"

# Nobody can be asked.
stop_node
ask "$front/"
expect 200 "fail open"
has "application:"
lacks "X-RateLimit"
ask "$adapter/"
expect 200 "fail open"
echo "no node: requests go through, as the file says"

configure 503
kill -HUP "$nginx_pid"
deadline=$((SECONDS + 20))
until ask "$front/" && [ "$status" != 200 ]; do
  [ "$SECONDS" -lt "$deadline" ] || fail "the new configuration is not in force"
done
expect 503 "fail closed"
has "Retry-After: 1"
lacks "application:"
echo "no node, fail closed: 503"

start_node
deadline=$((SECONDS + 30))
until ask "$front/" && [ "$status" = 429 ]; do
  [ "$SECONDS" -lt "$deadline" ] || fail "the node that is back is not asked"
  sleep 0.2
done
echo "a node is back: the count goes on where it was"
