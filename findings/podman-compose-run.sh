#!/bin/bash
# podman-compose gives the container of `run` the labels of the service itself, number 1 of it, and no label that tells
# it from that; Compose v2 writes `com.docker.compose.oneoff=True` on it, and `False` on all others.
#
# Package: podman-compose 1.6.0 from PyPI (1.0.6 and 1.3.0 write the same labels).
#
# Seen: `podman-compose run web` asks Podman for a container whose labels are, one for one, those that `up` writes on the
# service's own, container-number=1 among them. Only its name differs: PROJECT_web_tmpNUMBER. Who finds a service by its
# labels finds two containers of it, and the one that somebody has started for a moment may be taken for the service.
#
# Podman itself is not needed: a stand-in notes what it is asked to do. Needs python3 with venv. Prints what it saw;
# exits with 1 if that is otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check podman-compose==1.6.0

cat > podman <<'SCRIPT'
#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
case "$1" in
  --version) echo "podman version 5.4.2" ;;
  ps) echo "[]" ;;
esac
SCRIPT
chmod +x podman

mkdir shop
cat > shop/compose.yaml <<'YAML'
services:
  web:
    image: busybox
    command: sleep 100
YAML

# labels_of COMMAND...: the labels of the container that a command of podman-compose makes
labels_of() {
  : > asked
  (cd shop && ../env/bin/podman-compose --in-pod false --podman-path "$work/podman" "$@" > ../said 2>&1) || true
  grep -E '^(run|create) ' asked | head -n 1 > made
  [ -s made ] || { cat said asked; exit 1; }
  grep -oE -- '--name=[^ ]+' made >&2
  grep -oE -- '--label [^ ]+' made | sort
}

labels_of up --detach > up.labels
labels_of run --rm web true > run.labels
cat run.labels

if diff up.labels run.labels && grep -q 'com.docker.compose.container-number=1' run.labels && ! grep -q oneoff run.labels; then
  echo "as described: the labels of run are those of up, and none tells them apart"
else
  echo "OTHERWISE: they differ, or say which is which"
  exit 1
fi
