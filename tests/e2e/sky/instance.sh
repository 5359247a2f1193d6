#!/usr/bin/env bash
# One "instance" of the lab: instance.sh start ID PUBLIC_IP PRIVATE_IP | stop ID
# Its end is SIGKILL of everything on it, as a market's is; nothing is told beforehand unless a notice was.
set -u
: "${SIM:?}" "${LAB:?}" "${NODE_USER:?}"
act=$1 id=$2 folder=$SIM/run/nodes/$2 here=$(cd "$(dirname "$0")" && pwd)
namespace=$(printf %s "$id" | tail -c 8)

case $act in
start)
  ip=$3 private=$4
  ip netns add "$namespace"
  ip link add "h$namespace" type veth peer name eth0 netns "$namespace"
  ip link set "h$namespace" master skybr0 up
  for address in "$ip/16" "$private/16"; do ip -n "$namespace" addr add "$address" dev eth0; done
  ip -n "$namespace" addr add 169.254.169.254/32 dev lo
  ip -n "$namespace" link set eth0 up
  ip -n "$namespace" link set lo up
  mkdir -p "$folder/up" "$folder/wk" "$folder/root"
  echo $BASHPID > "$folder/pid"
  exec ip netns exec "$namespace" unshare --mount --uts --ipc --pid --fork --kill-child=KILL bash "$0" init "$id" "$ip" "$private"
  ;;
init)
  private=$4 disk=$folder/root
  hostname "ip-${private//./-}"
  mount --make-rprivate /
  mount -t overlay overlay -o "lowerdir=$SIM/run/ami:/,upperdir=$folder/up,workdir=$folder/wk" "$disk"
  mount -t proc proc "$disk/proc"
  mount --rbind /dev "$disk/dev"
  mount --rbind /sys "$disk/sys"
  # Neither the client's home nor anybody's scratch files are to be seen.
  for hidden in /tmp /run /root /dev/shm "$LAB/home" "$LAB/tmp" "$SIM" ${MASK:-}; do
    [ ! -d "$disk$hidden" ] || mount -t tmpfs -o mode=1777,size=2g tmpfs "$disk$hidden"
  done
  printf '127.0.0.1 localhost\n%s ip-%s\n' "$private" "${private//./-}" > "$disk/etc/hosts"
  install -d -o 1500 -g 1500 -m 700 "$disk/home/$NODE_USER/.ssh"
  install -o 1500 -g 1500 -m 600 "$folder/authorized_keys" "$disk/home/$NODE_USER/.ssh/authorized_keys"
  mkdir -p "$disk/run/sshd"
  env -i PATH="$PATH" /usr/bin/python3 "$here/imds.py" "$folder" < /dev/null &
  exec chroot "$disk" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/sbin/sshd -D -e -f /etc/lab_sshd_config
  ;;
stop)
  [ ! -f "$folder/pid" ] || kill -9 "$(cat "$folder/pid")" 2>/dev/null
  ip netns del "$namespace" 2>/dev/null
  ip link del "h$namespace" 2>/dev/null
  rm -rf "$folder/wk" "$folder/pid"
  [ -n "${KEEP_NODES:-}" ] || rm -rf "$folder/up"
  ;;
esac
