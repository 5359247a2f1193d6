#!/usr/bin/env bash
# A cloud on this machine for real SkyPilot: moto answers as AWS, and an "instance" is an overlay of this machine's root with
# sshd and a metadata service in namespaces of its own. Debian, root, Linux 5.11 or newer; one lab a machine.
#   lab.sh install               Debian packages and environments: SkyPilot with launch, moto, what an instance trains in
#   lab.sh up | down | purge     down keeps what was built, purge removes all of it
#   lab.sh exec COMMAND…         a client that reaches the lab and nothing else
#   lab.sh ls | preempt REGION ID | notice REGION ID SECONDS | rebalance REGION ID | capacity JSON
# All of it lies in LAB, which others must be able to read and which instances must be able to see: below no home, not in /tmp.
set -euo pipefail
export LAB=${LAB:-/opt/launch-lab} HOST=10.213.0.1 PORT=${PORT:-5599} NODE_USER=ubuntu
export SIM=$LAB/aws UV_CACHE_DIR=$LAB/uv-cache
PYTHON=/usr/bin/python3      # an interpreter below a home is not to be seen from an instance
SKYPILOT=0.14.1 RAY=2.9.3    # the ray that this SkyPilot installs on its machines: sky/skylet/constants.py
CLIENT_HOME=$LAB/home NODE_HOME=/home/$NODE_USER
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../../.." && pwd)
uv=$LAB/tools/bin/uv

is_alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

install() {
  command -v sshd rsync nc sudo >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      openssh-server openssh-client rsync netcat-openbsd sudo curl iproute2 procps python3-venv >/dev/null
  }
  mkdir -p "$LAB"
  [ -x "$uv" ] || { $PYTHON -m venv "$LAB/tools" && "$LAB/tools/bin/pip" install -q uv; }
  environment sky "$root[sky,aws]" pip setuptools pytest pytest-timeout hypothesis
  environment moto 'moto[server,ec2]' boto3 pyyaml
  environment node "$root[s3,train]"
}

environment() {   # NAME PACKAGES…
  [ -f "$LAB/$1/installed" ] && return
  "$uv" venv -q --clear -p $PYTHON "$LAB/$1"
  local pins=()
  [ ! -f "$here/$1.txt" ] || pins=(-c "$here/$1.txt")
  "$uv" pip install -q -p "$LAB/$1/bin/python" --compile-bytecode "${pins[@]}" "${@:2}"
  "$LAB/tools/bin/pip" --python "$LAB/$1/bin/python" check >&2
  [ "$1" != node ] || "$uv" pip uninstall -q -p "$LAB/$1/bin/python" spot-launch   # an instance gets ours with its launch
  touch "$LAB/$1/installed"
}

network() {
  # A fixed address of the bridge: without it each new port changed it, and connections hung for a minute on stale ARP.
  ip link show skybr0 >/dev/null 2>&1 || {
    ip link add skybr0 address 02:53:4b:59:00:01 type bridge
    ip addr add $HOST/16 dev skybr0
    ip link set skybr0 up
  }
  ip netns list | grep -qw skysim || {
    ip netns add skysim
    ip -n skysim link set lo up
    ip link add hskysim type veth peer name eth0 netns skysim
    ip link set hskysim master skybr0 up
    ip -n skysim addr add 10.213.0.2/16 dev eth0
    ip -n skysim link set eth0 up
  }
}

image() {   # the layer between this machine's root and an instance's own; on a tmpfs, since overlayfs refuses nested layers
  mkdir -p "$SIM/run"
  mountpoint -q "$SIM/run" || mount -t tmpfs -o "size=${TMPFS:-10g},mode=755" tmpfs "$SIM/run"
  local image=$SIM/run/ami home=$SIM/run/ami$NODE_HOME
  [ -f "$image/.done" ] && return
  mkdir -p "$image"/etc/{sudoers.d,ssh,security/limits.d} "$home/.local/bin" "$image/usr/local/bin" "$SIM/run/nodes"
  for file in passwd shadow group gshadow; do cp -a /etc/$file "$image/etc/$file"; done
  echo "$NODE_USER:x:1500:1500::$NODE_HOME:/bin/bash" >> "$image/etc/passwd"
  echo "$NODE_USER:*:19000:0:99999:7:::" >> "$image/etc/shadow"
  echo "$NODE_USER:x:1500:" >> "$image/etc/group"
  echo "$NODE_USER ALL=(ALL) NOPASSWD:ALL" > "$image/etc/sudoers.d/$NODE_USER"
  chmod 440 "$image/etc/sudoers.d/$NODE_USER"
  cp /etc/skel/.bashrc /etc/skel/.profile "$home/" 2>/dev/null || true
  ssh-keygen -q -t ed25519 -N '' -f "$image/etc/lab_host_key"
  # SetEnv: SkyPilot's own agent reads no configuration of AWS's tools, and must find the lab to end its machine.
  cat > "$image/etc/lab_sshd_config" <<S
Port 22
HostKey /etc/lab_host_key
PasswordAuthentication no
UsePAM no
StrictModes no
PrintMotd no
MaxSessions 200
MaxStartups 150:30:200
Subsystem sftp internal-sftp
SetEnv AWS_ENDPOINT_URL=http://$HOST:$PORT AWS_DEFAULT_REGION=us-east-1
S
  # uv is there already, so that SkyPilot does not download it; offline, and with this machine's Python for its 3.10.
  command install -m 755 "$uv" "$image/usr/local/bin/uv-real"
  cat > "$home/.local/bin/uv" <<S
#!/bin/bash
words=("\$@")
for at in "\${!words[@]}"; do
  [ "\${words[\$at]}" = --python ] && [ "\${words[\$((at + 1))]:-}" = 3.10 ] && words[\$((at + 1))]=$PYTHON
done
export UV_PYTHON_DOWNLOADS=never UV_OFFLINE=1
exec /usr/local/bin/uv-real "\${words[@]}"
S
  chmod 755 "$home/.local/bin/uv"
  # SkyPilot's runtime is baked in, as in its own images. Its scripts name the path, so it is built where it will lie.
  [ -d "$NODE_HOME" ] || { mkdir -p "$NODE_HOME"; touch "$SIM/made-home"; }
  ROOT=$root UV=$uv IMAGE_HOME=$home NODE_HOME=$NODE_HOME PYTHON=$PYTHON SKYPILOT=$SKYPILOT RAY=$RAY unshare --mount bash -euc '
    mount --make-rprivate /; mount --bind "$IMAGE_HOME" "$NODE_HOME"; cd /
    export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy VIRTUAL_ENV=$NODE_HOME/skypilot-runtime
    "$UV" venv -q --seed "$VIRTUAL_ENV" --python "$PYTHON"
    "$UV" pip install -q "ray[default]==$RAY" "pydantic-core==2.41.1" "click<8.3.0" "setuptools<70" "skypilot[aws,remote]==$SKYPILOT"
    "$UV" pip uninstall -q skypilot
    # What our agent is installed from there, as from the index.
    "$UV" venv -q --python "$PYTHON" /tmp/warm-$$
    UV_CACHE_DIR=$NODE_HOME/.cache/uv "$UV" pip install -q --python /tmp/warm-$$/bin/python "$ROOT[s3]"
    rm -rf /tmp/warm-$$
    "$VIRTUAL_ENV/bin/python" -m compileall -q -j 2 "$VIRTUAL_ENV/lib" >/dev/null 2>&1 || true'
  chown -R 1500:1500 "$home"
  touch "$image/.done"
}

up() {
  mkdir -p "$SIM" "$LAB/tmp" "$CLIENT_HOME/.aws"
  network
  image
  "$LAB/moto/bin/python" "$here/catalog.py" "$CLIENT_HOME/.sky/catalogs/v8" "$SIM/amis.json"
  printf '[default]\naws_access_key_id = AKIAFAKEFAKEFAKEFAKE\naws_secret_access_key = fake\n' > "$CLIENT_HOME/.aws/credentials"
  printf '[default]\nregion = us-east-1\nendpoint_url = http://%s:%s\n' "$HOST" "$PORT" > "$CLIENT_HOME/.aws/config"
  is_alive "$SIM/moto.pid" || {
    : > "$SIM/moto.log"   # here, not only in the background: the last moto's log says that it is up
    setsid "$LAB/moto/bin/python" -u "$here/fake_ec2.py" > "$SIM/moto.log" 2>&1 < /dev/null &
    echo $! > "$SIM/moto.pid"
  }
  for _ in $(seq 240); do
    grep -q 'moto up' "$SIM/moto.log" && return
    is_alive "$SIM/moto.pid" || break
    sleep 0.25
  done
  tail -3 "$SIM/moto.log" >&2
  return 1
}

within() {   # a client's environment: a home of its own, no telemetry, no way out
  [ -x "$LAB/sky/bin/sky" ] || { echo "no lab is installed in $LAB; run: $0 install" >&2; exit 2; }
  cd "$root"
  exec nsenter --net=/run/netns/skysim env -u LAUNCH_CATALOG -u PYTHONDONTWRITEBYTECODE -u XDG_STATE_HOME -u XDG_CACHE_HOME HOME="$CLIENT_HOME" PYTHONPATH="$root" TMPDIR="$LAB/tmp" \
    SKYPILOT_DISABLE_USAGE_COLLECTION=1 AWS_EC2_METADATA_DISABLED=true PIP_NO_BUILD_ISOLATION=false \
    SKYPILOT_API_SERVER_LOCAL_PORT=46590 PATH="$LAB/sky/bin:$PATH" "$@"
}

down() {
  # By `sky api stop`, which ends its helpers too; a killed one leaves eleven processes.
  ! ip netns list | grep -qw skysim || (within sky api stop) >/dev/null 2>&1 || true
  ! is_alive "$SIM/moto.pid" || kill "$(cat "$SIM/moto.pid")"
  rm -f "$SIM/moto.pid"
  local node
  for node in "$SIM"/run/nodes/*/; do [ ! -d "$node" ] || bash "$here/instance.sh" stop "$(basename "$node")"; done
  ip link del hskysim 2>/dev/null || true
  ip netns del skysim 2>/dev/null || true
  ip link del skybr0 2>/dev/null || true
  # SkyPilot keeps its SSH sockets in a folder of each user's, whatever TMPDIR says.
  [ ! -s "$CLIENT_HOME/.sky/user_hash" ] || rm -rf "/tmp/sky_ssh_$(cat "$CLIENT_HOME/.sky/user_hash")"
  rm -rf "$SIM"/run/nodes/* "$CLIENT_HOME" "$LAB/tmp"
}

purge() {
  down
  ! mountpoint -q "$SIM/run" || umount "$SIM/run"
  [ ! -f "$SIM/made-home" ] || rmdir "$NODE_HOME" 2>/dev/null || true
  rm -rf "$LAB"
}

case ${1:-} in
install | up | down | purge) "$1" ;;
exec) shift; within "$@" ;;
ls | preempt | notice | rebalance | capacity) exec "$LAB/moto/bin/python" "$here/levers.py" "$@" ;;
*) sed -n '2,8s/^# //p' "$0" >&2; exit 2 ;;
esac
