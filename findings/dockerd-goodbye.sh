#!/bin/bash
# dockerd, asked to end by SIGTERM, closes its API before it stops a single container, and goes on telling all of
# that over an `/events` answer that was open before.
#
# Package: docker.io 20.10.24+dfsg1-1+deb12u1 of Debian 12 (with containerd 1.6.20 and runc 1.1.5). 26.1.5 of Debian 13
# and 28.5.2 of testing do the same; there the open answer ends only 5 s after the last container, on 20.10 at once.
#
# Seen: within some 25 ms of the signal the socket's file is gone and nobody can connect; the container's `kill`,
# `die` and `stop` come over the open answer after that. A client that asks about a `die` which it has just heard is
# refused, and one that takes the refusal for a crash of the engine has not read to the end of its stream.
#
# Needs root on Debian 12 (amd64 or arm64). Prints what it saw; exits with 1 if that is otherwise.
set -euo pipefail
[ "$(id -u)" -eq 0 ] || { echo "only root can start an engine"; exit 2; }
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
(cd packages && apt-get -qq -o APT::Sandbox::User=root download 'docker.io=20.10.24+dfsg1-1+deb12u1*' 'containerd=1.6.20~ds1-1+deb12u*' \
  'runc=1.1.5+ds1-1+deb12u*' 'busybox-static=1:1.35.0-4*' libdevmapper1.02.1)
for package in packages/*.deb; do dpkg -x "$package" root; done
export PATH="$work/root/usr/sbin:$work/root/usr/bin:$PATH"
library=$(dirname "$(find root -name 'libdevmapper.so*' | head -n 1)")
export LD_LIBRARY_PATH="$work/$library"

dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" --host "unix://$work/sock" \
  --bridge=none --iptables=false >dockerd.log 2>&1 &
pids+=($!)
engine=$!
export DOCKER_HOST="unix://$work/sock"
for _ in $(seq 300); do docker version >version 2>/dev/null && break; sleep 0.1; done
grep -m 1 -A 20 '^Server' version | grep -m 1 Version:

mkdir -p image/bin
cp root/bin/busybox image/bin/busybox
ln -s busybox image/bin/sh
tar -C image -c . | docker import - tool >/dev/null
docker run --detach --name one --network none tool /bin/busybox sh -c \
  'trap "/bin/busybox sleep 1; exit 0" TERM; while :; do /bin/busybox sleep 0.1; done' >/dev/null

python3 - "$work/sock" "$engine" <<'PYTHON'
import http.client, json, os, signal, socket, sys, threading, time

path, engine = sys.argv[1], int(sys.argv[2])


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)


heard, refused = {}, None
stream = Connection("engine")
stream.request("GET", '/events?filters={"type":["container"]}')
answer = stream.getresponse()


def listen():
    while line := answer.readline():
        heard.setdefault(json.loads(line)["Action"], time.monotonic())


listener = threading.Thread(target=listen)
listener.start()
began = time.monotonic()
os.kill(engine, signal.SIGTERM)
while refused is None:
    try:
        asked = Connection("engine")
        asked.request("GET", "/_ping")
        asked.getresponse().read()
    except OSError as error:
        refused = time.monotonic(), type(error).__name__
listener.join()
print(f"{refused[0] - began:6.3f} s  asked anew: {refused[1]}")
for action, moment in heard.items():
    print(f"{moment - began:6.3f} s  {action}, over the answer that was open")
assert {"kill", "die"} <= heard.keys(), heard
assert refused[0] < heard["die"] - 0.5, "the API is still there when the container has ended"
print("as described")
PYTHON
