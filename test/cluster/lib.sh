# Names, addresses and helpers that the scripts beside this file share.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PROJECT=$(cd "$HERE/../.." && pwd)
STATE=${LKEOBS_CLUSTER_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/lkeobs-cluster}
MADE=${LKEOBS_CLUSTER_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/lkeobs-cluster}
BIN=$MADE/bin
BRIDGE=lk0 # joins the two nodes and this machine
MACHINE=10.77.0.1

PATH=$PROJECT/node_modules/.bin:$PATH # lkeobs' own Node

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# need COMMAND...: says all that are missing at once
need() {
  local missing=() each
  for each in "$@"; do command -v "$each" >/dev/null || missing+=("$each"); done
  [ ${#missing[@]} = 0 ] || die "not found: ${missing[*]}. README.md beside this script lists what is needed."
}

# cluster NAME: everything that differs between the two, all within 10.77.0.0/16
cluster() {
  case $1 in hub) N=1 ;; edge) N=2 ;; *) die "there is no cluster $1, only hub and edge" ;; esac
  NAME=$1
  IP=10.77.0.1$N         # the node
  BALANCED=10.77.$N.0/24 # addresses of LoadBalancer Services
  PODS=10.77.10$N.0/24
  SERVICES=10.77.$((16 * N)).0/20 API=10.77.$((16 * N)).1 DNS=10.77.$((16 * N)).10
  NET=lk-$NAME # its link on this machine, and its cgroups
  DIR=$STATE/$NAME ROOTFS=$STATE/$NAME/rootfs
}

# A pid alone may have been given to another process since: the time of its start tells.
alive() {
  local pid start now
  { read -r pid start <"$DIR/pid" && read -ra now <"/proc/$pid/stat"; } 2>/dev/null || return 1
  [ "${now[21]}" = "$start" ] && [ "${now[2]}" != Z ]
}

# The path of a program that lkeobs has installed.
program() {
  node "$PROJECT/bin/run.js" tools list --json | python3 -c '
import json, sys
path = next((tool.get("path") for tool in json.load(sys.stdin)["tools"] if tool["name"] == sys.argv[1]), None)
sys.exit(sys.argv[1] + " is not installed: lkeobs tools install") if not path else print(path)' "$1"
}

cgroup_v2() { [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; }

# kubectl with the rights of the node itself, so that its requests do not look like a person's in the audit log
as_node() { "$KUBECTL" --kubeconfig "$ROOTFS/etc/kubernetes/node.conf" "$@"; }

# Ends the current cluster and removes all it made. What is not there is passed over: a run may have been cut short.
end_cluster() {
  local pid group try
  if alive; then
    read -r pid _ <"$DIR/pid"
    kill -9 "$pid" # PID 1 of the node: the kernel ends everything in its PID namespace, and the mounts with it
    while alive; do sleep 0.1; done
  fi
  ip link del "$NET" 2>/dev/null || :
  ip route del "$BALANCED" 2>/dev/null || :
  while read -r group; do # innermost first; the last process may take a moment to be gone
    for try in $(seq 50); do
      [ -d "$group" ] || break
      find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || :
      [ ! -d "$group" ] || sleep 0.1
    done
  done < <(cat "$DIR/cgroups" 2>/dev/null)
  rm -rf --one-file-system "$DIR" "$STATE/$NAME.kubeconfig" "$STATE/$NAME.limited.kubeconfig"
}

# What both clusters use goes with the last of them.
end_shared() {
  local each
  [ -z "$(ip -o link show master $BRIDGE 2>/dev/null)" ] || return 0
  ip link del $BRIDGE 2>/dev/null || :
  while read -r each; do echo "-$each" >/sys/fs/cgroup/cgroup.subtree_control; done < <(cat "$STATE/controllers" 2>/dev/null)
  rm -f "$STATE/controllers"
}
