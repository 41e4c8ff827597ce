#!/usr/bin/env bash
# node.sh hub|edge: the first process of a node. `up` starts it in network, mount, PID, UTS, IPC and cgroup namespaces of its own.
# It makes the node's root file system, moves into it and keeps the daemons running. When it is killed the kernel ends every
# process of the PID namespace, and the mounts go with the mount namespace: that is nearly all the cleaning up a node needs.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"
cluster "$1"
# /proc is still the machine's: this is our pid as seen from there
read -ra stat </proc/self/stat
echo "${stat[0]} ${stat[21]}" >"$DIR/pid"
hostname "$NAME"

### root file system: /usr is the machine's, read-only; all else is the node's own
mount --make-rprivate /
mkdir -p "$ROOTFS"/{usr,etc,proc,sys,dev,run,tmp,opt/bin,opt/tools,opt/cni/bin,var/lib}
mount --bind "$ROOTFS" "$ROOTFS" # pivot_root wants a mount
for each in bin sbin lib lib64; do ln -sfn usr/$each "$ROOTFS/$each"; done
ln -sfn /run "$ROOTFS/var/run"
show() { mount --bind "$1" "$2" && mount -o remount,bind,ro "$2"; }
show /usr "$ROOTFS/usr"
show "$BIN" "$ROOTFS/opt/bin"
show "$BIN/cni" "$ROOTFS/opt/cni/bin"
touch "$ROOTFS/opt/tools/kubectl"
show "$KUBECTL" "$ROOTFS/opt/tools/kubectl"
mount --rbind /dev "$ROOTFS/dev"
mount -t proc proc "$ROOTFS/proc"
mount -t sysfs sysfs "$ROOTFS/sys"
mount -t tmpfs -o mode=755 tmpfs "$ROOTFS/run"
mount -t tmpfs -o mode=1777 tmpfs "$ROOTFS/tmp"
# mounted inside the cgroup namespace, the node sees its own cgroup as the root
if cgroup_v2; then
  mount -t cgroup2 cgroup2 "$ROOTFS/sys/fs/cgroup"
else
  mount -t tmpfs -o mode=755 tmpfs "$ROOTFS/sys/fs/cgroup"
  # the named hierarchy too: without it no OOM kill is reported as one
  while IFS=: read -r _ each _; do
    [ -n "$each" ] || continue
    mkdir "$ROOTFS/sys/fs/cgroup/${each#name=}"
    mount -t cgroup -o "${each/#name=/none,name=}" cgroup "$ROOTFS/sys/fs/cgroup/${each#name=}"
  done </proc/self/cgroup
fi
# kubelet would set these for the whole machine: it is shown files that already say what it wants
pretend() {
  local file=$ROOTFS/run/sysctl-${1//\//-}
  echo "$2" >"$file"
  mount --bind "$file" "$ROOTFS/proc/sys/$1"
}
pretend vm/overcommit_memory 1
pretend vm/panic_on_oom 0
pretend kernel/panic 10
pretend kernel/panic_on_oops 1
pretend kernel/keys/root_maxkeys 1000000
pretend kernel/keys/root_maxbytes 25000000
for each in alternatives ssl ca-certificates nsswitch.conf passwd group ld.so.cache ld.so.conf ld.so.conf.d protocols services; do
  [ ! -e "/etc/$each" ] || cp -a "/etc/$each" "$ROOTFS/etc/"
done
printf '127.0.0.1 localhost\n%s %s\n' "$IP" "$NAME" >"$ROOTFS/etc/hosts"
echo "$NAME" >"$ROOTFS/etc/hostname"
: >"$ROOTFS/etc/resolv.conf"
cd "$ROOTFS"
pivot_root . .
umount -l .
cd /
mount --make-rshared / # for mounts that reach into pods

### network
export PATH=/opt/bin:/opt/tools:/usr/sbin:/usr/bin HOME=/root
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done # `up` makes it
ip addr add "$IP/24" dev eth0
ip link set eth0 up
sysctl -qw net.ipv4.ip_forward=1
for each in hub edge; do [ "$each" = "$NAME" ] || (cluster "$each" && ip route add "$BALANCED" via "$IP"); done
# kube-proxy's rules see what the node itself sends only if there is some route for it; all else fails at once
ip route add "$SERVICES" dev eth0
ip route add "$BALANCED" dev eth0 src "$IP"
ip route add unreachable default

### daemons: started again a second after they end
run() {
  local name=$1 status
  shift
  (
    while :; do
      echo "== $name starts, $(date -u +%T)"
      status=0
      "$@" || status=$?
      echo "== $name ended with $status"
      sleep 1
    done >>"/var/log/lk/$name.log" 2>&1
  ) &
}
etc=/etc/kubernetes pki=/etc/kubernetes/pki
run etcd etcd --name "$NAME" --data-dir /var/lib/etcd --log-level warn --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster "$NAME=http://127.0.0.1:2380"
run containerd containerd --config /etc/containerd/config.toml
run kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address "$IP" \
  --service-cluster-ip-range "$SERVICES" --allow-privileged --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
  --client-ca-file $pki/ca.crt --tls-cert-file $pki/apiserver.crt --tls-private-key-file $pki/apiserver.key \
  --kubelet-client-certificate $pki/apiserver-kubelet-client.crt --kubelet-client-key $pki/apiserver-kubelet-client.key \
  --kubelet-certificate-authority $pki/ca.crt --kubelet-preferred-address-types InternalIP \
  --service-account-issuer https://kubernetes.default.svc.cluster.local \
  --service-account-key-file $pki/sa.pub --service-account-signing-key-file $pki/sa.key \
  --requestheader-client-ca-file $pki/ca.crt --requestheader-allowed-names front-proxy-client \
  --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
  --requestheader-extra-headers-prefix X-Remote-Extra- --enable-aggregator-routing \
  --proxy-client-cert-file $pki/front-proxy-client.crt --proxy-client-key-file $pki/front-proxy-client.key \
  --audit-policy-file $etc/audit-policy.yaml --audit-log-path /var/log/lk/audit.log --audit-log-maxsize 2000 --audit-log-maxbackup 1
until kubectl --kubeconfig $etc/node.conf get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
run kube-controller-manager kube-controller-manager --kubeconfig $etc/controller-manager.conf \
  --authentication-kubeconfig $etc/controller-manager.conf --authorization-kubeconfig $etc/controller-manager.conf \
  --leader-elect=false --flex-volume-plugin-dir /var/lib/kubelet/volumeplugins --use-service-account-credentials --root-ca-file $pki/ca.crt \
  --service-account-private-key-file $pki/sa.key --cluster-signing-cert-file $pki/ca.crt --cluster-signing-key-file $pki/ca.key
run kube-scheduler kube-scheduler --kubeconfig $etc/scheduler.conf --leader-elect=false \
  --authentication-kubeconfig $etc/scheduler.conf --authorization-kubeconfig $etc/scheduler.conf
run kubelet kubelet --kubeconfig $etc/kubelet.conf --config $etc/kubelet.yaml --hostname-override "$NAME" --node-ip "$IP"
run kube-proxy kube-proxy --config $etc/kube-proxy.yaml --hostname-override "$NAME"

# Gives each LoadBalancer Service the address it asks for, or the first free one; kube-proxy does the rest.
balance() {
  local namespace name type address wanted used i
  export KUBECONFIG=$etc/node.conf
  kubectl get services -A --watch --no-headers -o custom-columns=\
A:.metadata.namespace,B:.metadata.name,C:.spec.type,D:.status.loadBalancer.ingress[0].ip,E:.spec.loadBalancerIP |
    while read -r namespace name type address wanted; do
      [ "$type" = LoadBalancer ] && [ "$address" = '<none>' ] || continue
      used=" $(kubectl get services -A -o jsonpath='{.items[*].status.loadBalancer.ingress[*].ip}') "
      for ((i = 1; i < 255; i++)); do
        [ "$wanted" = '<none>' ] || break
        case $used in *" ${BALANCED%.*}.$i "*) ;; *) wanted=${BALANCED%.*}.$i ;; esac
      done
      kubectl -n "$namespace" patch service "$name" --subresource=status --type=merge \
        -p '{"status": {"loadBalancer": {"ingress": [{"ip": "'"$wanted"'"}]}}}' || : # it may be gone by now
    done
}
run load-balancer balance

# the first process reaps the orphans of all others
set +e
while :; do
  wait
  sleep 1
done
