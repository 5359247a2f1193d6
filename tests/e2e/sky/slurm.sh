#!/usr/bin/env bash
# Slurm clusters on this machine, beside the lab's stand-in AWS: real slurmctld, slurmd, sbatch and srun; only cores, memory and GPUs
# are declared. A cluster is SkyPilot's region, a partition its zone. Debian and root.
#   slurm.sh install         packages, and what SkyPilot installs on a node, so that launches need no network
#   slurm.sh up | down | purge      within the lab's network, as its client: lab.sh exec tests/e2e/sky/slurm.sh up
#   slurm.sh lose CLUSTER NODE      SIGKILL of a node's daemon and all its jobs' processes; the cluster finds out by itself
#   slurm.sh find CLUSTER NODE      bring it back
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
: "${LAB:=/opt/launch-lab}"
SLURM=$LAB/slurm NODE_USER=skynode CLIENT_HOME=$LAB/home
CLUSTERS="spota spotb" PARTITION=spot NODES=2 BASE_PORT=17100
CPUS=16 MEMORY_MB=64000 GPU=H100 GPUS=8
SKYPILOT=0.14.1
AWS=http://10.213.0.1:${PORT:-5599}

is_alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
end() { ! is_alive "$1" || kill "$(cat "$1")" || true; rm -f "$1"; }

install() {
  command -v slurmctld slurmd munged >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
  }
  "$LAB/tools/bin/uv" pip install -q -p "$LAB/sky/bin/python" python-hostlist==2.3.0
  user
  shims
  local cache
  cache=/tmp/uv_cache_$(id -u $NODE_USER)   # where SkyPilot has its nodes look: sky/utils/command_runner.py
  [ -f "$cache/warm" ] || runuser -u $NODE_USER -- env HOME="$SLURM/home" UV_CACHE_DIR="$cache" bash -euc '
    cd; "$1" venv -q --seed warm --python 3.10
    VIRTUAL_ENV=$HOME/warm "$1" pip install -q "skypilot[slurm,remote]==$2" "setuptools<70"
    rm -rf warm; touch "$UV_CACHE_DIR/warm"' _ "$SLURM/bin/uv" $SKYPILOT
  # What our agent is installed from; by root, since nobody else may be able to read this folder.
  local warm=$SLURM/warm
  "$LAB/tools/bin/uv" venv -q -p /usr/bin/python3 "$warm"
  UV_CACHE_DIR=$cache "$LAB/tools/bin/uv" pip install -q -p "$warm/bin/python" "$root[s3]"
  chown -R $NODE_USER "$cache"
  rm -rf "$warm"
}

user() {
  id $NODE_USER >/dev/null 2>&1 || useradd -p '*' -M -d "$SLURM/home" -s /bin/bash $NODE_USER
  mkdir -p "$SLURM/bin" "$SLURM/keys"
  command install -d -o $NODE_USER -g $NODE_USER -m 755 "$SLURM/home"
  command install -d -o $NODE_USER -g $NODE_USER -m 700 "$SLURM/home/.ssh"
  [ -f "$SLURM/keys/client" ] || ssh-keygen -q -t ed25519 -N '' -f "$SLURM/keys/client"
  [ -f "$SLURM/keys/host" ] || ssh-keygen -q -t ed25519 -N '' -f "$SLURM/keys/host"
  command install -o $NODE_USER -g $NODE_USER -m 600 "$SLURM/keys/client.pub" "$SLURM/home/.ssh/authorized_keys"
}

shims() {   # SkyPilot fetches uv, and with it a Python 3.10; here it finds both
  command install -m 755 "$LAB/tools/bin/uv" "$SLURM/bin/uv-real"
  cat > "$SLURM/bin/uv" <<S
#!/bin/bash
words=("\$@")
for at in "\${!words[@]}"; do
  [ "\${words[\$at]}" = --python ] && [ "\${words[\$((at + 1))]:-}" = 3.10 ] && words[\$((at + 1))]=/usr/bin/python3
done
awk '\$2 == "00000000" {found = 1} END {exit found}' /proc/net/route && export UV_OFFLINE=1
export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
exec $SLURM/bin/uv-real "\${words[@]}"
S
  cat > "$SLURM/bin/curl" <<S
#!/bin/bash
for word in "\$@"; do
  case "\$word" in */uv/install.sh) echo 'mkdir -p "\$UV_INSTALL_DIR" && ln -sf $SLURM/bin/uv "\$UV_INSTALL_DIR/uv"'; exit 0 ;; esac
done
exec /usr/bin/curl "\$@"
S
  # Without cgroups Slurm loses what has lost its parent: what is of a job is known by its environment.
  cat > "$SLURM/bin/epilog" <<'S'
#!/bin/bash
for process in /proc/[0-9]*; do
  if tr '\0' '\n' < "$process/environ" 2>/dev/null | grep -qx "SLURM_JOB_ID=$SLURM_JOB_ID" &&
     tr '\0' '\n' < "$process/environ" 2>/dev/null | grep -qx "SLURM_CONF=$SLURM_CONF"; then
    case "$(cat "$process/comm" 2>/dev/null)" in slurmstepd | epilog) ;; *) kill -9 "${process#/proc/}" 2>/dev/null ;; esac
  fi
done
exit 0
S
  chmod 755 "$SLURM/bin/"{uv,curl,epilog}
}

configure() {   # CLUSTER INDEX
  local folder=$SLURM/$1 port=$((BASE_PORT + 100 * $2)) names= name node
  mkdir -p "$folder"/{ctld,log,run,spool}
  {
    cat <<S
ClusterName=$1
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile=$folder/run/ctld.pid
SlurmdPidFile=$folder/run/%n.pid
SlurmdSpoolDir=$folder/spool/%n
StateSaveLocation=$folder/ctld
SlurmctldLogFile=$folder/log/ctld.log
SlurmdLogFile=$folder/log/%n.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
KillWait=2
Epilog=$SLURM/bin/epilog
SlurmctldTimeout=10
SlurmdTimeout=10
BatchStartTimeout=10
MessageTimeout=10
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
S
    for node in $(seq $NODES); do
      name=$1-$node
      # SkyPilot resolves the names of nodes.
      grep -q "[[:space:]]$name # launch-lab\$" /etc/hosts || echo "127.$((20 + $2)).0.$node $name # launch-lab" >> /etc/hosts
      echo "NodeName=$name NodeHostname=localhost NodeAddr=127.$((20 + $2)).0.$node Port=$((port + 10 + node)) CPUs=$CPUS Boards=1" \
        "SocketsPerBoard=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEMORY_MB Gres=gpu:$GPU:$GPUS State=UNKNOWN"
      names+=,$name
    done
    echo "PartitionName=$PARTITION Nodes=${names#,} Default=YES MaxTime=7-0 State=UP"
  } > "$folder/slurm.conf"
  echo "Name=gpu Type=$GPU File=/dev/launchlabgpu[0-$((GPUS - 1))]" > "$folder/gres.conf"
  echo "CgroupAutomount=no" > "$folder/cgroup.conf"
  cat > "$folder/sshd_config" <<S
ListenAddress 127.0.0.1:$((port + 22))
HostKey $SLURM/keys/host
PidFile $folder/run/sshd.pid
AuthorizedKeysFile $SLURM/home/.ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
MaxSessions 200
MaxStartups 150:30:200
AllowUsers $NODE_USER
SetEnv SLURM_CONF=$folder/slurm.conf LAB_SLURM=1 AWS_ENDPOINT_URL=$AWS AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x
Subsystem sftp internal-sftp
S
}

node_up() {   # CLUSTER NODE; a host name of its own: SkyPilot looks for it among the job's nodes
  is_alive "$SLURM/$1/run/$2.pid" ||
    SLURM_CONF=$SLURM/$1/slurm.conf unshare --uts bash -c 'hostname "$1" && exec slurmd -N "$1"' _ "$2"
}

up() {
  local index=0 cluster node gpu
  command install -d -o munge -g munge -m 755 /run/munge
  command install -d -o munge -g munge -m 700 /var/log/munge /var/lib/munge
  munge -n 2>/dev/null | unmunge >/dev/null 2>&1 || { runuser -u munge -- /usr/sbin/munged; cp /run/munge/munged.pid "$SLURM/munged.pid"; }
  for gpu in $(seq 0 $((GPUS - 1))); do [ -e /dev/launchlabgpu$gpu ] || mknod -m 666 /dev/launchlabgpu$gpu c 1 3; done
  printf '[ -z "$LAB_SLURM" ] || export PATH=%s:$PATH\n' "$SLURM/bin" > /etc/profile.d/launch-lab-slurm.sh   # `down` removes it
  mkdir -p "$CLIENT_HOME/.slurm" /run/sshd
  : > "$CLIENT_HOME/.slurm/config"
  for cluster in $CLUSTERS; do
    configure "$cluster" $index
    is_alive "$SLURM/$cluster/run/ctld.pid" || SLURM_CONF=$SLURM/$cluster/slurm.conf slurmctld -i
    for node in $(seq $NODES); do node_up "$cluster" "$cluster-$node"; done
    is_alive "$SLURM/$cluster/run/sshd.pid" || /usr/sbin/sshd -f "$SLURM/$cluster/sshd_config"
    printf 'Host %s\n    HostName 127.0.0.1\n    Port %s\n    User %s\n    IdentityFile %s\n    IdentitiesOnly yes\n\n' \
      "$cluster" $((BASE_PORT + 100 * index + 22)) $NODE_USER "$SLURM/keys/client" >> "$CLIENT_HOME/.slurm/config"
    index=$((index + 1))
  done
  for cluster in $CLUSTERS; do
    for _ in $(seq 100); do
      [ "$(SLURM_CONF=$SLURM/$cluster/slurm.conf sinfo -h -N -t idle,mixed,allocated 2>/dev/null | wc -l)" -ge $NODES ] && continue 2
      sleep 0.2
    done
    SLURM_CONF=$SLURM/$cluster/slurm.conf sinfo >&2
    return 1
  done
}

lose() {   # CLUSTER NODE
  local process name
  [ ! -s "$SLURM/$1/run/$2.pid" ] || kill -9 "$(cat "$SLURM/$1/run/$2.pid")"
  rm -f "$SLURM/$1/run/$2.pid"
  for process in /proc/[0-9]*; do
    name=$({ tr '\0' '\n' < "$process/environ" | sed -n 's/^SLURMD_NODENAME=//p'; } 2>/dev/null || true)
    [ "$name" != "$2" ] || kill -9 "${process#/proc/}" 2>/dev/null || true
  done
}

down() {
  local cluster file
  for cluster in $CLUSTERS; do
    [ -d "$SLURM/$cluster/run" ] || continue
    SLURM_CONF=$SLURM/$cluster/slurm.conf timeout 5 scancel -u $NODE_USER 2>/dev/null || true
    sleep 1
    ! is_alive "$SLURM/$cluster/run/sshd.pid" || kill $(ps --ppid "$(cat "$SLURM/$cluster/run/sshd.pid")" -o pid=) 2>/dev/null || true
    for file in "$SLURM/$cluster"/run/*.pid; do [ ! -e "$file" ] || end "$file"; done
  done
  end "$SLURM/munged.pid"
  sed '/# launch-lab$/d' /etc/hosts > "$SLURM/hosts" && cat "$SLURM/hosts" > /etc/hosts
  rm -f /etc/profile.d/launch-lab-slurm.sh /dev/launchlabgpu* "$CLIENT_HOME/.slurm/config"
}

purge() {
  down
  sleep 1
  rm -rf "/tmp/uv_cache_$(id -u $NODE_USER)" "$SLURM"
  userdel $NODE_USER 2>/dev/null || true
}

case ${1:-} in
install | up | down | purge) "$1" ;;
lose) lose "$2" "$3" ;;
find) node_up "$2" "$3" ;;
*) sed -n '2,8s/^# //p' "$0" >&2; exit 2 ;;
esac
