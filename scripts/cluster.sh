#!/usr/bin/env bash
#
# A local tallykeep cluster: one process for each cluster/node<N>.toml. See `help`.
#
# Beside node<N>/, the data of node N, its folder holds node<N>.log and node<N>.pid. A pid file
# names a process by its pid and the moment it started, so a pid that the system gave to somebody
# else since is never signalled. If there is a folder certs/, the nodes speak TLS with what is in it, and
# ask for tokens if an operator's is there; their configurations are the copies node<N>.toml that say so.

set -euo pipefail

caller=$0
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh

data=${TALLYKEEP_DATA:-cluster/data}
case $data in /*) ;; *) data=$root/$data ;; esac
binary=${TALLYKEEP_BIN:-$(target_dir)/release/tallykeep}

# How long nodes may take to be ready, and to stop, before it is called a failure.
ready_timeout_s=${TALLYKEEP_READY_TIMEOUT:-60}
stop_timeout_s=10
poll_s=0.1

usage() {
  cat <<'USAGE'
usage: scripts/cluster.sh COMMAND

  start [N]    build, start all nodes (or node N) on fresh or kept data, wait until they are ready;
               with --tls, make certificates and an operator's token, and have them speak TLS and ask for
               tokens from now on
  stop [N]     end all nodes (or node N) gracefully: SIGTERM, then wait
  kill N       end node N at once: SIGKILL
  pause N      freeze node N: SIGSTOP
  resume N     let node N go on: SIGCONT
  status       a table: node, role, term, applied, ready; exits 1 unless all nodes are ready
  logs [N]     the logs of all nodes (or node N); with -f, follow them
  wipe         delete the data, logs and certificates of all nodes; refused while one runs
  help         this

Clients reach the nodes at http://127.0.0.1:7001, 7002, 7003 (https with --tls). cluster/node<N>.toml configures node N.

  TALLYKEEP_DATA            the folder for data, logs and pid files (cluster/data);
                            if relative, then to the repository
  TALLYKEEP_BIN             a tallykeep binary to run instead of building one
  TALLYKEEP_READY_TIMEOUT   seconds that start waits for the nodes (60)
  TOKIO_WORKER_THREADS      threads of each node (its share of the processors, at least 1)
USAGE
}

fail() {
  say "error: $*"
  exit 1
}

# Ends with the usage error $1.
misuse() {
  say "error: $1"
  say "Try: $caller help"
  exit 2
}

# --- nodes and their processes ----------------------------------------------------------------

nodes=()
for file in cluster/node*.toml; do
  name=${file##*/node}
  nodes+=("${name%.toml}")
done

check_node() {
  local node
  for node in "${nodes[@]}"; do
    [ "$node" = "$1" ] && return 0
  done
  misuse "there is no node '$1'; nodes: ${nodes[*]}"
}

certs=$data/certs
token=$certs/operator.token
secured() { [ -e "$certs/ca.crt" ]; }

config_file() {
  if secured && [ -e "$data/node$1.toml" ]; then
    printf '%s/node%s.toml\n' "$data" "$1"
  else
    printf 'cluster/node%s.toml\n' "$1"
  fi
}
data_folder() { printf '%s/node%s\n' "$data" "$1"; }
log_file() { printf '%s/node%s.log\n' "$data" "$1"; }
pid_file() { printf '%s/node%s.pid\n' "$data" "$1"; }

# The address of node $1 for clients (`http`) or peers (`peer`), $2, from its configuration, where
# the node's own keys stand before those of the [[nodes]] tables.
address() {
  local line="s/^$2[[:space:]]*=[[:space:]]*\"\([^\"]*\)\".*/\1/p" found
  found=$(sed -n "$line" "$(config_file "$1")" | sed -n 1p)
  [ -n "$found" ] || fail "$(config_file "$1") has no line $2 = \"host:port\""
  printf '%s\n' "$found"
}

url() {
  local scheme=http
  if secured; then scheme=https; fi
  printf '%s://%s\n' "$scheme" "$(address "$1" http)"
}

# What the system says of the process with pid $1, as "STATE START": its state's letter, and when
# it started. Fails if there is no such process. A zombie, which a container without an init never
# loses, is no process any more.
process() {
  local line state start
  if [ -r /proc/self/stat ]; then
    { line=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    # The second field, the command's name, may hold blanks and brackets itself.
    # shellcheck disable=SC2086
    set -- ${line##*) }
    # Ticks since the boot, so the boot is told apart too.
    state=$1 start=${20}@$(<"/proc/sys/kernel/random/boot_id")
  else
    line=$(LC_ALL=C ps -o state=,lstart= -p "$1") || return 1
    state=${line%%[[:space:]]*}
    start=$(printf '%s\n' "${line#*[[:space:]]}" | tr -s ' ' '_')
  fi
  [ "${state:0:1}" != Z ] || return 1
  printf '%s %s\n' "${state:0:1}" "$start"
}

# The pid of node $1, if this script started it and it runs; fails otherwise.
node_pid() {
  local pid started now
  [ -r "$(pid_file "$1")" ] || return 1
  read -r pid started <"$(pid_file "$1")" || return 1
  [ -n "$started" ] && now=$(process "$pid") || return 1
  [ "${now#* }" = "$started" ] || return 1
  printf '%s\n' "$pid"
}

runs() { node_pid "$1" >/dev/null; }

paused() {
  local pid now
  pid=$(node_pid "$1") && now=$(process "$pid") && [ "${now%% *}" = T ]
}

# Sends signal $2 to node $1; fails if the node does not run.
signal() {
  local pid
  pid=$(node_pid "$1") && kill "-$2" "$pid" 2>/dev/null
}

# Waits at most $1 seconds until the nodes $2... have ended; fails at the deadline.
wait_ended() {
  local deadline=$((SECONDS + $1)) node
  shift
  for node in "$@"; do
    while runs "$node"; do
      [ "$SECONDS" -lt "$deadline" ] || return 1
      sleep "$poll_s"
    done
    rm -f "$(pid_file "$node")"
  done
}

# --- start ------------------------------------------------------------------------------------

build() {
  if [ -n "${TALLYKEEP_BIN:-}" ]; then
    [ -x "$binary" ] || fail "TALLYKEEP_BIN is $binary, which is no program"
    return 0
  fi
  ensure_toolchain || exit 1
  local quiet=--quiet
  if [ ! -x "$binary" ]; then
    quiet=
    say "Building tallykeep. The first build compiles RocksDB: ten to fifteen minutes on two cores."
  fi
  cargo build --release --locked --bin tallykeep ${quiet:+"$quiet"} ||
    fail "tallykeep does not build"
}

# Fails, naming the port, if somebody listens at an address of node $1, which does not run.
check_ports() {
  local kind endpoint port
  for kind in http peer; do
    endpoint=$(address "$1" "$kind")
    port=${endpoint##*:}
    if (exec 3<>"/dev/tcp/${endpoint%:*}/$port") 2>/dev/null; then
      say "error: port $port, $kind of node $1 ($endpoint), is taken by another process."
      say "$caller did not start it, or did with another TALLYKEEP_DATA. To see which it is:"
      say "  ss -ltnp 'sport = :$port'     or     lsof -iTCP:$port -sTCP:LISTEN"
      exit 1
    fi
  done
}

# Makes an operator's token, if there is none, and keeps what the nodes' configurations say of it.
make_token() {
  local node
  if [ -e "$token" ]; then return 0; fi
  for node in "${nodes[@]}"; do
    if runs "$node"; then fail "node $node runs without tokens; first: $caller stop"; fi
  done
  "$binary" tokens operator "$token" >"$certs/auth.toml" || fail "no token could be made"
  say "Made an operator's token: $token"
}

# Makes a CA and a certificate for each node, if there are none.
make_certificates() {
  local node endpoint cluster options=()
  if secured; then return 0; fi
  for node in "${nodes[@]}"; do
    if runs "$node"; then fail "node $node runs without TLS; first: $caller stop"; fi
    endpoint=$(address "$node" http)
    options+=(--node "$node=${endpoint%:*},localhost")
  done
  cluster=$(sed -n 's/^cluster[[:space:]]*=[[:space:]]*"\([^"]*\)".*/\1/p' "$(config_file "${nodes[0]}")")
  mkdir -p "$data" || fail "cannot make the data folder $data"
  "$binary" certs init "$certs" --cluster "$cluster" "${options[@]}" >/dev/null ||
    fail "no certificates could be made"
  say "Made certificates in $certs"
}

# Writes the configuration of node $1 with its certificates.
secure_config() {
  local pair
  pair="certificate = \"$certs/node$1.crt\"
key = \"$certs/node$1.key\""
  {
    sed "s|^wrangler[[:space:]]*=[[:space:]]*\"|&$root/cluster/|" "cluster/node$1.toml"
    printf '\n[tls.peers]\nca = "%s/ca.crt"\n%s\n\n[tls.clients]\n%s\n' "$certs" "$pair" "$pair"
    if [ -e "$token" ]; then
      printf '\n'
      cat "$certs/auth.toml"
    fi
  } >"$data/node$1.toml"
}

# Starts node $1 in the background, free of this shell: a session of its own, no input, its output
# in its log.
spawn() {
  local detach=nohup pid now threads
  have setsid && detach=setsid
  # The nodes share this machine. Each by default has a thread for every processor, as on a machine of
  # its own, and three nodes would then wake and wait for each other's more than they work.
  threads=$(($(getconf _NPROCESSORS_ONLN) / ${#nodes[@]}))
  # 9 is the lock of `start_nodes`, which must not live on in the node.
  TOKIO_WORKER_THREADS=${TOKIO_WORKER_THREADS:-$((threads > 0 ? threads : 1))} \
    "$detach" "$binary" serve --config "$(config_file "$1")" --data "$(data_folder "$1")" \
    </dev/null >>"$(log_file "$1")" 2>&1 9>&- &
  pid=$!
  # A node that is gone already has no start time; the wait for readiness reports it.
  now=$(process "$pid") || now="- ended"
  printf '%s %s\n' "$pid" "${now#* }" >"$(pid_file "$1")"
}

# Starts those of the nodes $@ that do not run, and resumes the paused ones. Two starts at once do
# not both start a node (where there is flock).
start_nodes() {
  local node
  mkdir -p "$data" || fail "cannot make the data folder $data"
  (
    if have flock; then flock 9; fi
    # All ports before the first process, so that a taken one leaves nothing half started.
    for node in "$@"; do
      runs "$node" || check_ports "$node"
    done
    for node in "$@"; do
      if ! runs "$node"; then
        if secured; then secure_config "$node"; fi
        spawn "$node"
      elif paused "$node"; then
        signal "$node" CONT
        say "Node $node was paused: resumed."
      fi
    done
  ) 9>"$data/.start.lock"
}

# Reports that node $1, just started, has ended.
report_ended() {
  say "error: node $1 ended while it started. The last lines of $(log_file "$1"):"
  tail -n 20 "$(log_file "$1")" | sed 's/^/  | /' >&2
}

# Waits until the nodes $@ can serve; fails when one ends, or at the deadline.
wait_ready() {
  local deadline=$((SECONDS + ready_timeout_s)) node endpoints=()
  for node in "$@"; do
    endpoints+=(--endpoint "$(url "$node")")
  done
  # A second at a time, to see in between whether a node has ended.
  until "$binary" status "${endpoints[@]}" --wait-ready 1 >/dev/null 2>&1; do
    for node in "$@"; do
      if ! runs "$node"; then
        report_ended "$node"
        exit 1
      fi
    done
    if [ "$SECONDS" -ge "$deadline" ]; then
      say "error: not ready after $ready_timeout_s s. What the nodes say:"
      "$binary" status "${endpoints[@]}" >&2 || true
      for node in "$@"; do
        say "The last lines of $(log_file "$node"):"
        tail -n 5 "$(log_file "$node")" | sed 's/^/  | /' >&2
      done
      say "The nodes go on; $caller stop ends them."
      exit 1
    fi
    sleep "$poll_s"
  done
  # Something answers at every address; that it is these nodes is seen from their being alive.
  for node in "$@"; do
    if ! runs "$node"; then
      report_ended "$node"
      exit 1
    fi
  done
}

# How many nodes can vote now.
voters() {
  local node count=0
  for node in "${nodes[@]}"; do
    if runs "$node" && ! paused "$node"; then count=$((count + 1)); fi
  done
  printf '%s\n' "$count"
}

# Has the commands of tallykeep trust the nodes, and be trusted.
trust() {
  if secured; then export TALLYKEEP_CA=$certs/ca.crt; fi
  if [ -e "$token" ]; then export TALLYKEEP_TOKEN_FILE=$token; fi
}

start() {
  local wanted=("$@") node missing=0 quorum=$((${#nodes[@]} / 2 + 1)) first curl="curl -i" more=
  [ $# -gt 0 ] || wanted=("${nodes[@]}")
  for node in "${wanted[@]}"; do
    runs "$node" || missing=1
  done
  if [ "$missing" = 1 ] || [ ! -x "$binary" ]; then
    build
  fi
  if [ "$tls" = 1 ]; then
    make_certificates
    make_token
  fi
  trust
  start_nodes "${wanted[@]}"
  if [ "$(voters)" -lt "$quorum" ]; then
    # No node can be ready, but one that cannot even open its port or its data is seen here.
    for node in "${wanted[@]}"; do wait_listening "$node"; done
    say "Started: ${wanted[*]}. Not ready: it waits for others ($quorum of ${#nodes[@]} can serve)."
    return 0
  fi
  wait_ready "${wanted[@]}"
  first=$(url "${wanted[0]}")
  if [ $# -gt 0 ]; then
    say "Node $1 is ready: $first"
    return 0
  fi
  if secured; then curl="curl -i --cacert $certs/ca.crt"; fi
  if [ -e "$token" ]; then
    curl="$curl -H \"Authorization: Bearer \$(cat $token)\""
    more="
The token is an operator's: it may do everything. For the commands, and to make one that may less:
  export TALLYKEEP_CA=$certs/ca.crt TALLYKEEP_TOKEN_FILE=$token
  export TALLYKEEP_ENDPOINT=$(endpoint_list)
  $binary tokens create my-app --scope check --scope log"
  fi
  cat <<READY
Ready:
$(for node in "${nodes[@]}"; do printf '  node %s   %s\n' "$node" "$(url "$node")"; done)
Data and logs: $data

Try:
  $curl $first/check -d '{"identifier":"user-123","config":{"requests":100,"windowMs":60000}}'
$more
READY
}

# The URLs of all nodes, with commas between them.
endpoint_list() {
  local node urls=
  for node in "${nodes[@]}"; do urls=$urls${urls:+,}$(url "$node"); done
  printf '%s\n' "$urls"
}

# Waits until node $1 answers connections; fails when it ends, or at the deadline.
wait_listening() {
  local deadline=$((SECONDS + ready_timeout_s)) endpoint
  endpoint=$(address "$1" http)
  until (exec 3<>"/dev/tcp/${endpoint%:*}/${endpoint##*:}") 2>/dev/null; do
    if ! runs "$1"; then
      report_ended "$1"
      exit 1
    fi
    [ "$SECONDS" -lt "$deadline" ] ||
      fail "node $1 does not listen at $endpoint after $ready_timeout_s s"
    sleep "$poll_s"
  done
  if ! runs "$1"; then
    report_ended "$1"
    exit 1
  fi
}

# --- the other commands -----------------------------------------------------------------------

stop() {
  local wanted=("$@") running=() late=() node
  [ $# -gt 0 ] || wanted=("${nodes[@]}")
  for node in "${wanted[@]}"; do
    if runs "$node"; then
      running+=("$node")
    elif [ $# -gt 0 ]; then
      say "Node $node does not run."
    fi
  done
  if [ ${#running[@]} = 0 ]; then
    [ $# -gt 0 ] || say "No node runs."
    return 0
  fi
  # A paused node would not see SIGTERM; and none may be ended while another it needs is frozen.
  for node in "${running[@]}"; do signal "$node" CONT || true; done
  for node in "${running[@]}"; do signal "$node" TERM || true; done
  if wait_ended "$stop_timeout_s" "${running[@]}"; then
    say "Stopped: ${running[*]}"
    return 0
  fi
  for node in "${running[@]}"; do
    if runs "$node"; then late+=("$node"); else rm -f "$(pid_file "$node")"; fi
  done
  [ ${#late[@]} -gt 0 ] || return 0
  say "error: still running $stop_timeout_s s after SIGTERM: ${late[*]}. To end at once:"
  for node in "${late[@]}"; do say "  $caller kill $node"; done
  return 1
}

kill_node() {
  runs "$1" || fail "node $1 does not run"
  signal "$1" KILL || true
  wait_ended "$stop_timeout_s" "$1" || fail "node $1 is still there $stop_timeout_s s after SIGKILL"
  say "Killed: $1"
}

# Waits until node $1 is paused ($2 = yes) or not (no): a signal takes effect a moment later.
wait_paused() {
  local deadline=$((SECONDS + stop_timeout_s)) now
  while runs "$1"; do
    if paused "$1"; then now=yes; else now=no; fi
    [ "$now" != "$2" ] || return 0
    [ "$SECONDS" -lt "$deadline" ] || break
    sleep "$poll_s"
  done
  fail "node $1 did not take the signal"
}

pause() {
  signal "$1" STOP || fail "node $1 does not run"
  wait_paused "$1" yes
  say "Paused: $1"
}

resume() {
  signal "$1" CONT || fail "node $1 does not run"
  wait_paused "$1" no
  say "Resumed: $1"
}

status() {
  local node endpoints=() code=0
  trust
  for node in "${nodes[@]}"; do
    endpoints+=(--endpoint "$(url "$node")")
  done
  if [ -x "$binary" ]; then
    "$binary" status "${endpoints[@]}" || code=$?
  else
    say "tallykeep is not built yet ($caller start builds it)."
  fi
  for node in "${nodes[@]}"; do
    if ! runs "$node"; then
      printf 'node %s does not run\n' "$node"
      code=1
    elif paused "$node"; then
      printf 'node %s is paused (pid %s)\n' "$node" "$(node_pid "$node")"
      code=1
    fi
  done
  return "$code"
}

logs() {
  local follow=0 wanted=() files=() node argument
  for argument in "$@"; do
    case $argument in
      -f | --follow) follow=1 ;;
      *) check_node "$argument" && wanted+=("$argument") ;;
    esac
  done
  [ ${#wanted[@]} -gt 0 ] || wanted=("${nodes[@]}")
  for node in "${wanted[@]}"; do
    if [ -e "$(log_file "$node")" ]; then files+=("$(log_file "$node")"); fi
  done
  [ ${#files[@]} -gt 0 ] || fail "no logs yet in $data"
  if [ "$follow" = 1 ]; then
    exec tail -n 20 -F "${files[@]}"
  elif [ ${#files[@]} = 1 ]; then
    cat "${files[0]}"
  else
    tail -n 200 "${files[@]}"
  fi
}

wipe() {
  local node
  for node in "${nodes[@]}"; do
    ! runs "$node" || fail "node $node runs; first: $caller stop"
  done
  for node in "${nodes[@]}"; do
    rm -rf "$(data_folder "$node")" "$(log_file "$node")" "$(pid_file "$node")"
    rm -f "$data/node$node.toml"
  done
  rm -f "$data/.start.lock"
  # What --tls has made, and nothing else that somebody put there.
  if secured; then
    rm -f "$certs"/ca.{crt,key} "$certs"/node*.{crt,key} "$token" "$certs/auth.toml"
    rmdir "$certs" 2>/dev/null || true
  fi
  # The folder itself only when nothing else is in it.
  rmdir "$data" 2>/dev/null || true
  say "Wiped: $data"
}

# --- the command line -------------------------------------------------------------------------

# Checks that $1, the arguments' number, is from $2 to $3.
expect_arguments() {
  [ "$1" -ge "$2" ] || misuse "$command needs the number of a node"
  [ "$1" -le "$3" ] || misuse "$command: too many arguments"
}

[ $# -gt 0 ] || misuse "no command"
command=$1
shift
tls=0
if [ "$command" = start ]; then
  arguments=()
  for argument in "$@"; do
    if [ "$argument" = --tls ]; then tls=1; else arguments+=("$argument"); fi
  done
  set -- ${arguments[@]+"${arguments[@]}"}
fi
case $command in
  start | stop)
    expect_arguments $# 0 1
    [ $# = 0 ] || check_node "$1"
    "$command" "$@"
    ;;
  pause | resume)
    expect_arguments $# 1 1
    check_node "$1"
    "$command" "$1"
    ;;
  kill)
    expect_arguments $# 1 1
    check_node "$1"
    kill_node "$1"
    ;;
  status | wipe)
    expect_arguments $# 0 0
    "$command"
    ;;
  logs)
    expect_arguments $# 0 2
    logs "$@"
    ;;
  help | -h | --help) usage ;;
  *) misuse "no command '$command'" ;;
esac
