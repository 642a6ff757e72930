# What deploy/up and deploy/down share: places, units, configuration. Sourced by bash.

OPT=/opt/keelson
ETC=/etc/keelson
VAR=/var/lib/keelson
PKI=/etc/kubernetes/pki
KUBELET_ROOT=/var/lib/kubelet
RUN=/run/keelson
CONTAINERD_SOCKET=$RUN/containerd/containerd.sock
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
SERVICE_IP=10.96.0.1
DNS_IP=10.96.0.10
DAEMONS="kvstore kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy"
UNITS="keelson-containerd $DAEMONS"
PORTS="2379 2380 6443 10250 10256 10257 10259"
declare -A LOG_HINT=([systemd]="journalctl -u kube-apiserver" [keelson]="/var/log/keelson/*.log")

started=$(date +%s)
step() { printf '[%3ds] %s\n' $(($(date +%s) - started)) "$*"; }
die() { echo "error: $*" >&2; exit 1; }

systemd_is_init() { [ -d /run/systemd/system ]; }
default_supervisor() { if systemd_is_init; then echo systemd; else echo keelson; fi; }

# The address of the default route, else the first global one.
default_address() {
  ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p' | grep . ||
    ip -4 -o address show scope global | sed -n 's/.* inet \([0-9.]*\).*/\1/p' | head -1 | grep .
}

# build_release TOP: the programs of a release in TOP/build/release/bin. On a terminal one line that moves, elsewhere a line
# for each tenth; what the compiler says goes to a file that is named when it fails.
build_release() {
  local out=$1/build/release log=/var/log/keelson/build.log
  install -d "$(dirname "$log")"
  if ! { [ -f "$out/build.ninja" ] || cmake -S "$1" --preset release; } >"$log" 2>&1 ||
    ! NINJA_STATUS='%f %t ' ninja -C "$out" $DAEMONS keelson kvctl 2>&1 | tee -a "$log" | build_progress; then
    grep -m1 -A20 -E '^FAILED|error' "$log" >&2 || tail -n 20 "$log" >&2
    die "the build failed; everything it said is in $log"
  fi
}

# From "finished total what" lines to how far it is and how long it still takes.
build_progress() {
  local finished total rest began=$SECONDS left tenth=0
  while read -r finished total rest; do
    [[ "$finished $total" =~ ^[0-9]+\ [0-9]+$ ]] && [ "$finished" -gt 0 ] || continue
    left=$(((SECONDS - began) * (total - finished) / finished))
    if [ -t 1 ]; then
      printf '\r  %d of %d steps, about %d:%02d left \e[K' "$finished" "$total" $((left / 60)) $((left % 60))
    elif [ $((finished * 10 / total)) -gt $tenth ]; then
      tenth=$((finished * 10 / total))
      printf '  %d of %d steps, about %d:%02d left\n' "$finished" "$total" $((left / 60)) $((left % 60))
    fi
  done
  if [ -t 1 ]; then printf '\r\e[K'; fi
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local limit=$1 what=$2; shift 2
  local end=$((SECONDS + limit))
  until "$@"; do
    if [ $SECONDS -ge $end ]; then
      echo "error: $what is not ready after $limit s; last log lines:" >&2
      last_logs >&2
      exit 1
    fi
    sleep 0.1
  done
}

last_logs() {
  if systemd_is_init; then
    for unit in $UNITS; do journalctl --no-pager -n 5 -u "$unit" 2>/dev/null || true; done
  fi
  tail -n 5 /var/log/keelson/*.log 2>/dev/null || true
}

# Somebody else's etcd or cluster on our ports: daemons would restart for ever and nobody would know why.
check_ports() {
  local taken
  taken=$(ss -ltnpH "( $(printf 'sport = :%s or ' $PORTS) sport = :0 )" 2>/dev/null |
    grep -Ev "\"($(echo kvstore kube-apiserver kube-controller kube-scheduler kubelet kube-proxy | tr ' ' '|'))\"" || true)
  [ -z "$taken" ] || die "ports that the cluster needs are in use:
$(awk '{print "  " $4, $6}' <<<"$taken")"
}

# write_if_changed FILE: standard input becomes its content.
write_if_changed() {
  local new; new=$(mktemp)
  cat >"$new"
  if ! cmp -s "$new" "$1"; then install -m 644 "$new" "$1"; fi
  rm -f "$new"
}

arguments() { printf 'ARGS=%s\n' "$*" | write_if_changed "$ETC/$daemon.env"; }

write_config() {
  local node=$1 ip=$2 daemon
  daemon=kvstore arguments --name="$node" --data-dir=$VAR/kvstore \
    --listen-client-urls=https://127.0.0.1:2379 --advertise-client-urls=https://127.0.0.1:2379 \
    --cert-file=$PKI/etcd/server.crt --key-file=$PKI/etcd/server.key \
    --trusted-ca-file=$PKI/etcd/ca.crt --client-cert-auth \
    --listen-peer-urls=https://127.0.0.1:2380 --initial-advertise-peer-urls=https://127.0.0.1:2380 \
    --peer-cert-file=$PKI/etcd/peer.crt --peer-key-file=$PKI/etcd/peer.key \
    --peer-trusted-ca-file=$PKI/etcd/ca.crt --peer-client-cert-auth
  daemon=kube-apiserver arguments --etcd-servers=https://127.0.0.1:2379 --etcd-cafile=$PKI/etcd/ca.crt \
    --etcd-certfile=$PKI/apiserver-etcd-client.crt --etcd-keyfile=$PKI/apiserver-etcd-client.key \
    --advertise-address="$ip" --secure-port=6443 --allow-privileged \
    --tls-cert-file=$PKI/apiserver.crt --tls-private-key-file=$PKI/apiserver.key --client-ca-file=$PKI/ca.crt \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file=$PKI/sa.pub --service-account-signing-key-file=$PKI/sa.key \
    --service-cluster-ip-range=$SERVICE_CIDR --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --kubelet-certificate-authority=$PKI/ca.crt --kubelet-client-certificate=$PKI/apiserver-kubelet-client.crt \
    --kubelet-client-key=$PKI/apiserver-kubelet-client.key
  daemon=kube-controller-manager arguments --kubeconfig=/etc/kubernetes/controller-manager.conf \
    --allocate-node-cidrs --cluster-cidr=$POD_CIDR --root-ca-file=$PKI/ca.crt --leader-elect \
    --use-service-account-credentials
  daemon=kube-scheduler arguments --kubeconfig=/etc/kubernetes/scheduler.conf --leader-elect
  daemon=kubelet arguments --kubeconfig=/etc/kubernetes/kubelet.conf --config=$ETC/kubelet.yaml \
    --hostname-override="$node" --node-ip="$ip" --root-dir=$KUBELET_ROOT
  daemon=kube-proxy arguments --kubeconfig=/etc/kubernetes/kube-proxy.conf --hostname-override="$node" \
    --cluster-cidr=$POD_CIDR --pod-routes=host-gw
  install -d /etc/kubernetes/manifests
  write_if_changed "$ETC/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $PKI/ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
failCgroupV1: false
staticPodPath: /etc/kubernetes/manifests
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
YAML
  "$OPT/bin/keelson" cni-template | write_if_changed "$ETC/cni.conflist.tmpl"
  containerd_config | write_if_changed "$ETC/containerd.toml"
  for unit in $UNITS; do write_if_changed /etc/systemd/system/"$unit".service <"$here/systemd/$unit.service"; done
}

containerd_config() {
  # Inside containers OOM scores may not be lowered, AppArmor may not be loaded: the runtime must live with it there.
  local restrict=false apparmor=false
  (echo -1000 >/proc/self/oom_score_adj) 2>/dev/null || restrict=true
  [ -d /sys/kernel/security/apparmor ] || apparmor=true
  cat <<TOML
version = 2
root = "$VAR/containerd"
state = "$RUN/containerd/state"
[grpc]
  address = "$CONTAINERD_SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  restrict_oom_score_adj = $restrict
  disable_apparmor = $apparmor
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$ETC/cni"
    conf_template = "$ETC/cni.conflist.tmpl"
TOML
}

start_units() {
  install -d "$RUN" "$ETC/cni"
  case "$1" in
    systemd)
      systemctl daemon-reload
      systemctl enable --quiet $UNITS
      # Not waited for here: what is not well yet is restarted until it is, and the checks that follow say what is missing.
      for unit in $UNITS; do
        if print_changed "$unit"; then systemctl restart --no-block "$unit"; else systemctl start --no-block "$unit"; fi
      done
      ;;
    keelson)
      local changed='' unit
      for unit in $UNITS; do if print_changed "$unit"; then changed=1; fi; done
      if supervisor_running; then
        [ -n "$changed" ] || [ "$OPT/bin/keelson" -nt "$RUN/supervisor.pid" ] || return 0
        kill "$(cat "$RUN/supervisor.pid")"
        wait_for 60 "the old supervisor's end" supervisor_stopped
      fi
      setsid "$OPT/bin/keelson" supervise --units "${UNITS// /,}" </dev/null >>/var/log/keelson/supervisor.log 2>&1 &
      echo $! >"$RUN/supervisor.pid"
      ;;
    *) die "unknown supervisor $1" ;;
  esac
}

# What a unit runs with: a running one is restarted only when this changes.
unit_print() {
  local files="/etc/systemd/system/$1.service"
  case "$1" in
    keelson-containerd) files="$files $ETC/containerd.toml" ;;
    kubelet) files="$files $ETC/kubelet.env $ETC/kubelet.yaml $OPT/bin/kubelet" ;;
    *) files="$files $ETC/$1.env $OPT/bin/$1" ;;
  esac
  cat $files | sha256sum | cut -d' ' -f1
}

# Whether the unit runs with something else than at the last start; from now on this is the last start.
print_changed() {
  local now; now=$(unit_print "$1")
  [ "$now" != "$(cat "$RUN/$1.print" 2>/dev/null)" ] || return 1
  echo "$now" >"$RUN/$1.print"
}

supervisor_running() {
  [ -f "$RUN/supervisor.pid" ] && grep -qs keelson "/proc/$(cat "$RUN/supervisor.pid")/cmdline"
}
supervisor_stopped() { ! supervisor_running; }

stop_units() {
  if systemd_is_init; then
    for unit in $UNITS; do systemctl disable --now "$unit" >/dev/null 2>&1 || true; done
  fi
  if supervisor_running; then
    kill "$(cat "$RUN/supervisor.pid")"
    wait_for 60 "the supervisor's end" supervisor_stopped
    rm -f "$RUN/supervisor.pid"
  fi
}

# Containers are the runtime's children's children: killing the shims of our containerd ends them.
stop_pods() {
  local pids
  pids=$(pgrep -f "containerd-shim.*-address $CONTAINERD_SOCKET" || true)
  [ -z "$pids" ] || kill $pids 2>/dev/null || true
  for _ in $(seq 50); do
    pids=$(pgrep -f "containerd-shim.*-address $CONTAINERD_SOCKET" || true)
    [ -n "$pids" ] || return 0
    sleep 0.1
  done
  kill -9 $pids 2>/dev/null || true
}

unmount_below() {
  local prefix
  for prefix in "$@"; do
    awk -v p="$prefix/" 'index($2, p) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || true
  done
}
