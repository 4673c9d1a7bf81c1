#!/bin/bash
# Podman's Docker-compatible API answers `GET /info` with another `ID` each time that it is asked. Docker's is that of the
# engine, made once and kept; who takes it for the name of an engine meets a new one with every call.
#
# Package: podman 4.3.1+ds1-8+deb12u1 of Debian 12 (with conmon 2.1.6 and crun 1.8.1). 5.4.2 of Debian 13, 5.8.6 of testing
# and 6.1.1 of experimental do the same.
#
# Seen: three calls to one service within a second give three IDs, all of the form of a UUID; `Name` and `DockerRootDir` are
# the same each time, and tell one Podman from another.
#
# Needs root on Debian 12 (amd64 or arm64). Prints what it saw; exits with 1 if that is otherwise.
set -euo pipefail
[ "$(id -u)" -eq 0 ] || { echo "only root can start a Podman of its own here"; exit 2; }
work=$(mktemp -d)
cd "$work"
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for mount in $(awk -v here="$work" 'index($2, here) == 1 { print $2 }' /proc/mounts | sort -r); do umount -l "$mount"; done
  rm -rf "$work"
}
trap finish EXIT

mkdir packages root
(cd packages && apt-get -qq -o APT::Sandbox::User=root download 'podman=4.3.1+ds1-8+deb12u1*' 'conmon=2.1.6+ds1-1*' 'crun=1.8.1-1*' \
  golang-github-containers-common golang-github-containers-image libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libyajl2 libseccomp2)
for package in packages/*.deb; do dpkg -x "$package" root; done
export PATH="$work/root/usr/bin:$PATH"
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu:$work/root/lib/$(uname -m)-linux-gnu"
cat > containers.conf <<CONF
[engine]
conmon_path = ["$work/root/usr/bin/conmon"]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
crun = ["$work/root/usr/bin/crun"]
CONF
export CONTAINERS_CONF="$work/containers.conf"
podman --version

podman --root "$work/storage" --runroot "$work/run" --tmpdir "$work/tmp" --storage-driver vfs \
  system service --time 0 "unix://$work/podman.sock" > service.log 2>&1 &
pids+=($!)
for _ in $(seq 100); do [ -S podman.sock ] && break; sleep 0.1; done

ask() {
  python3 - "$work/podman.sock" <<'PYTHON'
import http.client, json, socket, sys
connection = http.client.HTTPConnection("localhost", timeout=10)
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request("GET", "/info")
info = json.loads(connection.getresponse().read())
print(info["ID"], info["Name"], info["DockerRootDir"])
PYTHON
}
for _ in 1 2 3; do ask; done | tee answers || { cat service.log; exit 1; }

ids=$(cut -d' ' -f1 answers | sort -u | wc -l)
others=$(cut -d' ' -f2- answers | sort -u | wc -l)
if [ "$ids" -eq 3 ] && [ "$others" -eq 1 ]; then
  echo "as described: three IDs of one Podman"
else
  echo "OTHERWISE: $ids IDs"
  exit 1
fi
