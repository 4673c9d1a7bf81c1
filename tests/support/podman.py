#!/usr/bin/env python3
"""Private Podmans for the end-to-end tests, and for trying things by hand.

Takes Podman and all it needs from Debian's packages of a chosen suite and unpacks them into a cache folder, as a
small root that is only read: nothing is installed into the system. Each Podman sees that root from mount, network and
cgroup namespaces of its own, with nearly everything at its default. So it disturbs neither another one nor the system,
and closing it leaves no process, mount, network or cgroup behind. Standard library only.

Not as on a real machine: there is no systemd, so nothing runs health checks by itself ("podman healthcheck run" does),
and ports that containers publish are open in the namespace alone. Processes have the numbers that they have outside.

By hand, as root:

    eval "$(python3 tests/support/podman.py start trixie)"
    docker ps
    python3 tests/support/podman.py cli trixie stop web
    python3 tests/support/podman.py stop trixie
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path
from types import TracebackType

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import engines
from support.engines import Apt, Cgroup, EngineError, locked, log, send, start_time, wait_until

#: The suites that Podman is taken from, and the series of Podman that each has, the newest first.
PODMANS = {"experimental": "6.1", "forky": "5.8", "trixie": "5.4", "bookworm": "4.3"}
#: Experimental is no whole suite: what it lacks comes from sid.
BELOW = {"experimental": "sid"}
#: What is taken from a suite that lies on top of another one.
ON_TOP = ("podman", "netavark", "aardvark-dns")
#: What Podman only recommends, and what containers and their networks do not go without.
PACKAGES = ("podman", "crun", "conmon", "netavark", "aardvark-dns", "nftables", "iptables", "catatonit", "ca-certificates")
#: These refuse cgroup v1. Where the machine has it, they get the (then bare) v2 that is there beside it.
ONLY_V2 = ("experimental",)
#: Raise it when the layout of the cache changes: roots of another layout are made anew.
LAYOUT = 2

#: The image that every Podman has, in both spellings by which it is looked for: Podman's and Docker's.
IMAGE = "busybox:local"
IMAGE_NAMES = (f"localhost/{IMAGE}", f"docker.io/library/{IMAGE}")
DIR_PREFIX = "sentinel-podman-"
MOST_BYTES = 107  # of a Unix socket's path
CGROUPS = Path("/sys/fs/cgroup")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MERGED = ("bin", "sbin", "lib", "lib64")
FOLDERS = ("dev", "etc/containers", "old", "podman", "proc", "root", "run", "sys", "tmp", "var")
CONTAINERS_CONF = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = [{limits}]
{more}"""
ACCEPT_ALL = '{"default": [{"type": "insecureAcceptAnything"}]}\n'

#: Enter the cgroup in all its hierarchies, and go on as the command behind "--".
JOIN = """\
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done
shift
exec "$@"
"""

#: Run in new namespaces: build what Podman will see, and stay there as the process that holds them.
#: Arguments: the root, the folder of this Podman, and what is mounted below /sys/fs/cgroup.
HOLD = """\
set -e
root=$1 folder=$2
shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"  # with Podman's locks, which have one name everywhere
for place in run root tmp var; do mount -t tmpfs -o mode=755 tmpfs "$root/$place"; done
mkdir -p "$root/var/lib/containers" "$root/var/tmp"
mount --bind "$folder" "$root/podman"
mount --bind "$folder/etc" "$root/etc/containers"
mount --bind "$folder/data" "$root/var/lib/containers"
if [ "$1" = cgroup2 ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/service"
    echo $$ >"$root/sys/fs/cgroup/service/cgroup.procs"
else
    mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
    for options in "$@"; do
        place=$root/sys/fs/cgroup/${options#name=}
        mkdir "$place"
        mount -t cgroup -o "$options" cgroup "$place"
        for one in $(echo "$options" | tr , ' '); do
            [ -e "${place%/*}/${one#name=}" ] || ln -s "${place##*/}" "${place%/*}/$one"
        done
    done
fi
cd "$root"
pivot_root . old
/bin/busybox umount -l /old
/bin/busybox ip link set lo up || true
: >/podman/ready
exec /bin/busybox sleep 2147483647
"""


# --------------------------------------------------------------------------- a root to live in


class SuiteApt(Apt):
    """apt that also fetches all that a package needs, be the suite a little out of date."""

    def __init__(self, suite: str, cache: Path) -> None:
        super().__init__(suite, cache)
        self.dir = cache / "podman" / f"apt-{suite}"  # the other place is tidied up by others

    def configure(self) -> Path:
        path = super().configure()
        sources = self.dir / "sources.list.d" / "suite.sources"
        below = BELOW.get(self.suite)
        preferences = ""
        if below:
            sources.write_text(sources.read_text().replace(f"Suites: {self.suite}", f"Suites: {below} {self.suite}"))
            preferences = f"Package: {' '.join(ON_TOP)}\nPin: release a={self.suite}\nPin-Priority: 990\n"
        (self.dir / "preferences").write_text(preferences)
        # A mirror that stands still has lists that have expired, and the same packages.
        with open(path, "a") as file:
            file.write(f'Dir::Etc::preferences "{self.dir / "preferences"}";\nAcquire::Check-Valid-Until "false";\n')
        return path

    def fetch(self, packages: tuple[str, ...]) -> list[Path]:
        """These packages and what they depend on, as if nothing were installed."""
        if not shutil.which("apt-get"):
            raise EngineError("apt-get is not here: Podman can be fetched on Debian only")
        apt = ["apt-get", "-q", "-y", "-c", str(self.configure())]
        log(f"reading the package lists of {self.suite}")
        engines.run([*apt, "update"], timeout=600)
        log(f"fetching Podman from {self.suite}")
        engines.run([*apt, "install", "--download-only", "--no-install-recommends", *packages], timeout=900)
        return sorted((self.dir / "cache/archives").glob("*.deb"))


def unpack(deb: Path, root: Path) -> tuple[str, str]:
    """Unpack a package into the root; its name and version."""
    # By hand: what an older package has in /bin goes through the link to /usr/bin that is there.
    script = 'set -o pipefail; dpkg-deb --fsys-tarfile "$0" | tar -x --keep-directory-symlink -C "$1"'
    engines.run(["bash", "-c", script, str(deb), str(root)])
    fields = engines.run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", str(deb)]).stdout.split()
    return fields[0], fields[1]


def furnish(root: Path) -> None:
    """What a root needs besides the files of its packages."""
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    # The alternatives that nobody has set up.
    for name in ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"):
        link = root / "usr/sbin" / name
        if not os.path.lexists(link):
            link.symlink_to("xtables-nft-multi")
    shutil.copy(engines.static_busybox(), root / "usr/bin/busybox")
    files = {
        "passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "group": "root:x:0:\n",
        "hosts": "127.0.0.1 localhost\n",
        "resolv.conf": "",
    }
    for name, text in files.items():
        (root / "etc" / name).unlink(missing_ok=True)
        (root / "etc" / name).write_text(text)


def prepare(suite: str) -> Path:
    """The folder with this suite's Podman in the cache; quick when it is there."""
    if suite not in PODMANS:
        raise EngineError(f"there is no Podman of {suite}, only of {', '.join(PODMANS)}")
    if os.geteuid() != 0:
        raise EngineError("a private Podman needs root")
    cache = engines.cache_root()
    made = cache / "podman" / f"{suite}-{LAYOUT}"
    if (made / "complete").is_file():
        return made
    with locked(cache / "podman"):
        if (made / "complete").is_file():
            return made
        apt = SuiteApt(suite, cache)
        engines.remove(made)
        root = made / "root"
        for name in MERGED:
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
        try:
            debs = apt.fetch(PACKAGES)
            log(f"unpacking {len(debs)} packages of {suite}")
            versions = dict(unpack(deb, root) for deb in debs)
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"{shlex.join(error.cmd)} took too long") from None
        finally:
            engines.remove(apt.dir)  # the lists and the packages are big
        furnish(root)
        (made / "complete").write_text(json.dumps(versions, indent=1) + "\n")
    return made


def image_tar() -> bytes:
    """The files of the image: busybox, and a link to it for every command."""
    busybox = engines.static_busybox()
    names = engines.run([str(busybox), "--list"]).stdout.split()
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for folder in ("bin", "tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        content = busybox.read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
        for name in sorted({*names} - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return output.getvalue()


# --------------------------------------------------------------------------- control groups


def hierarchies() -> dict[str, Path]:
    """The trees of control groups that are mounted here: of v1 by their options, that of v2 as cgroup2."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        place, (kind, _, options) = Path(before.split()[4]), after.split()
        if CGROUPS not in (place, place.parent):
            continue
        if kind == "cgroup2":
            found[kind] = place
        elif kind == "cgroup":
            ours = [option for option in options.split(",") if option not in ("rw", "ro", "xattr", "clone_children")]
            found[",".join(option for option in ours if not option.startswith("release_agent="))] = place
    return found


def make_cgroup(name: str) -> None:
    """A cgroup of this name in every tree, that processes can be put in."""
    for top in hierarchies().values():
        folder = top / name
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):  # in v1 a new one has none of either
            if (top / file).exists() and not (top / "cgroup.controllers").exists():
                (folder / file).write_text((top / file).read_text())


# --------------------------------------------------------------------------- Podman itself


class PrivatePodman:
    """A Podman of one's own in a folder, and the service of its API: start, stop and kill that at will.

    Containers live on without the service, and cli() does everything without it. As a context manager the service is
    started on entry, and everything is closed on exit.
    """

    def __init__(self, suite: str, directory: Path | str | None = None) -> None:
        self.suite = suite
        self._given = directory
        self.dir = Path()
        if directory is not None:
            self._settle(Path(directory).resolve())
        self._holder: subprocess.Popen[bytes] | None = None
        self._service: subprocess.Popen[bytes] | None = None

    def _settle(self, folder: Path) -> None:
        self.dir = folder
        self.cgroup = Cgroup(f"{folder.name}-{zlib.crc32(bytes(folder)):08x}")

    # What others need to know

    @property
    def socket(self) -> Path:
        return self.dir / "podman.sock"

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def log_file(self) -> Path:
        return self.dir / "service.log"

    @property
    def version(self) -> str:
        """Upstream's version, as the running Podman will give it; there before start() as well."""
        versions: dict[str, str] = json.loads((prepare(self.suite) / "complete").read_text())
        return re.split(r"[+~-]", versions["podman"].rpartition(":")[2])[0]

    def _pid(self, name: str) -> int | None:
        """The process whose number is kept in this file, while it is there."""
        try:
            number, started = (self.dir / name).read_text().split()
        except (OSError, ValueError):
            return None
        return int(number) if start_time(int(number)) == started else None

    @property
    def pid(self) -> int | None:
        """The service's process id while it runs."""
        if self._service is not None:
            self._service.poll()
        return self._pid("service.pid")

    def alive(self) -> bool:
        """Whether the service's process is there."""
        return self.pid is not None

    def answers(self, timeout: float = 3.0) -> bool:
        """Whether the service answers."""
        return engines.ping(self.host, timeout)

    # Making the place

    def _make_folder(self) -> None:
        if self._given is None:
            # Short on purpose, for the sake of the socket.
            self._given = tempfile.mkdtemp(prefix=DIR_PREFIX, dir="/tmp")
            self._settle(Path(self._given).resolve())
            # So that the next run can clear up after one that was killed.
            owner = {"suite": self.suite, "pid": os.getpid(), "started": start_time(os.getpid())}
            (self.dir / "owner.json").write_text(json.dumps(owner))
        if len(bytes(self.socket)) > MOST_BYTES:
            raise EngineError(f"{self.socket} is too long for the path of a socket")
        for name in ("etc", "data"):
            (self.dir / name).mkdir(mode=0o711, parents=True, exist_ok=True)
        (self.dir / "etc/containers.conf").write_text(self._settings())
        (self.dir / "etc/policy.json").write_text(ACCEPT_ALL)

    def _settings(self) -> str:
        """Defaults, but for what this machine may not let it do."""
        limits = []
        # 4.3 would raise these, which not every root may do; before that it lowers the second one to pid_max itself.
        kinds = (
            ("nofile", resource.RLIMIT_NOFILE, "fs/nr_open"),
            ("nproc", resource.RLIMIT_NPROC, "kernel/pid_max"),
        )
        for name, number, file in kinds:
            hard, most = resource.getrlimit(number)[1], int(Path("/proc/sys", file).read_text())
            value = most if hard == resource.RLIM_INFINITY else min(hard, most)
            limits.append(f'"{name}={value}:{value}"')
        more = ""
        if self._views() == ["cgroup2"] and "pids" not in (hierarchies()["cgroup2"] / "cgroup.controllers").read_text():
            more = "pids_limit = 0\n"  # that is: none
        return CONTAINERS_CONF.format(limits=", ".join(limits), more=more)

    def _spawn(self, command: list[str], pid_file: str, cgroup: str, log_file: Path) -> subprocess.Popen[bytes]:
        """Start a process in our cgroup that outlives this one, if need be, and write down who it is."""
        with open(log_file, "ab") as output:
            process = subprocess.Popen(
                self._joined(command, cgroup),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environ(),
                start_new_session=True,  # Ctrl-C ends the tests, which then close Podman in order
                cwd="/",
            )
        (self.dir / pid_file).write_text(f"{process.pid} {start_time(process.pid)}")
        return process

    @staticmethod
    def _environ() -> dict[str, str]:
        """Nothing of this machine's settings."""
        return {"PATH": PATH, "HOME": "/root", "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}

    def _joined(self, command: list[str], cgroup: str = "") -> list[str]:
        """The command in our cgroup, or in one below it."""
        tops = hierarchies().values()
        folders = [top / self.cgroup.name / cgroup for top in tops]
        # Below it there is one only in the trees that this Podman sees.
        found = [str(folder if folder.is_dir() else folder.parent) for folder in folders]
        return ["sh", "-c", JOIN, "join", *found, "--", *command]

    def _command(self, *arguments: str) -> list[str]:
        """Podman, where it is at home."""
        holder = self._pid("holder.pid")
        if holder is None:
            raise EngineError(f"{self.suite}'s Podman is not set up in {self.dir}: start() does that")
        enter = ["nsenter", f"--target={holder}", "--mount", "--net", "--cgroup", "--", "/usr/bin/podman"]
        return self._joined([*enter, *arguments], "service")

    def _views(self) -> list[str]:
        """What this Podman sees of the control groups."""
        trees = hierarchies()
        v1 = [options for options in trees if options != "cgroup2"]
        if v1 and self.suite not in ONLY_V2:
            return v1
        if "cgroup2" not in trees:
            raise EngineError(f"{self.suite}'s Podman needs cgroup v2, of which nothing is mounted here")
        return ["cgroup2"]

    def _hold(self) -> None:
        """Make the namespaces, and import the image."""
        if self._pid("holder.pid") is not None:
            return
        root = prepare(self.suite) / "root"
        self._make_folder()
        make_cgroup(self.cgroup.name)
        ready = self.dir / "ready"
        ready.unlink(missing_ok=True)
        hold = ["unshare", "--mount", "--net", "--cgroup", "--", "sh", "-c", HOLD, "hold"]
        command = [*hold, str(root), str(self.dir), *self._views()]
        self._holder = holder = self._spawn(command, "holder.pid", "", self.log_file)
        wait_until(lambda: holder.poll() is not None or ready.exists(), 30)
        if not ready.exists():
            reason = self.log_tail()
            self.close()
            raise EngineError(f"this machine makes no place for {self.suite}'s Podman:\n{reason}")
        try:
            self.cli("import", "-", IMAGE_NAMES[0], data=image_tar())
            self.cli("tag", *IMAGE_NAMES)
        except EngineError:
            self.close()
            raise

    # Starting and stopping the service

    def start(self, timeout: float = 60.0) -> None:
        """Start the service and wait until it answers."""
        if self._given is not None and self.alive():
            raise EngineError(f"a service runs in {self.dir} already")
        self._hold()
        self.socket.unlink(missing_ok=True)
        command = self._command("system", "service", "--time=0", "unix:///podman/podman.sock")
        self._service = service = self._spawn(command, "service.pid", "service", self.log_file)
        wait_until(lambda: service.poll() is not None or self.answers(1), timeout)
        if not self.answers():
            reason = self.log_tail()
            self.close()
            raise EngineError(f"{self.suite}'s Podman does not answer:\n{reason}")

    def log_tail(self, lines: int = 15) -> str:
        """The end of what the service said."""
        try:
            text = self.log_file.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> None:
        """End the service with a signal and wait; containers live on, and start() works again."""
        pid = self.pid
        if pid is None:
            return
        send(pid, number)
        if not wait_until(lambda: self.pid is None, timeout):
            send(pid, signal.SIGKILL)
            if not wait_until(lambda: self.pid is None, 10):
                raise EngineError(f"process {pid} of {self.suite}'s Podman cannot be ended")

    def kill(self) -> None:
        """End the service as a crash would; its socket stays, and nobody listens there."""
        self.stop(signal.SIGKILL)

    # Podman's command

    def cli(
        self, *arguments: str, check: bool = True, data: bytes | None = None, timeout: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run podman beside the service, as a user of this machine would; a failure is an EngineError."""
        command = self._command(*arguments)
        said = shlex.join(["podman", *arguments])
        try:
            done = subprocess.run(
                command,
                input=data or b"",
                capture_output=True,
                check=False,
                env=self._environ(),
                timeout=timeout,
                cwd="/",
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"{self.suite}'s {said} took more than {timeout:g} s") from None
        output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            raise EngineError(f"{self.suite}'s {said} failed ({done.returncode}): {(errors or output).strip()[-2000:]}")
        return subprocess.CompletedProcess(done.args, done.returncode, output, errors)

    def script(self, path: Path) -> Path:
        """A script that runs podman beside the service, for programs that want to be told where it is."""
        path.write_text(f'#!/bin/sh\nexec {shlex.join(self._command())} "$@"\n')
        path.chmod(0o755)
        return path

    # Leaving nothing behind

    def close(self) -> None:
        """End everything, with all containers, and remove the folder."""
        if self._given is None or not self.dir.is_dir():
            return
        # With the last process of the namespaces, what is mounted and connected in them goes, too.
        if not wait_until(self._gone, 30):
            raise EngineError(f"what {self.suite}'s Podman started cannot be ended: {sorted(self.cgroup.pids())}")
        if not engines.mounts_below(self.dir):  # never delete through a mount
            engines.remove(self.dir)

    def _gone(self) -> bool:
        """Kill what is there now; whether nothing is left of it."""
        self.cgroup.remove()
        for process in (self._service, self._holder):
            if process is not None:
                process.poll()  # so that it stays no zombie
        return not self.cgroup.folders()

    def __enter__(self) -> PrivatePodman:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def close_stale() -> None:
    """Close the Podmans of test runs that were killed before they could do it themselves."""
    for file in Path("/tmp").glob(f"{DIR_PREFIX}*/owner.json"):
        try:
            owner = json.loads(file.read_text())
        except (OSError, ValueError):
            continue
        if start_time(int(owner["pid"])) != owner["started"]:
            log(f"clearing up {file.parent}, left by a run that was killed")
            PrivatePodman(str(owner["suite"]), file.parent).close()


# --------------------------------------------------------------------------- by hand


def main(arguments: list[str]) -> int:
    """Start, use and stop Podmans by hand."""
    parser = argparse.ArgumentParser(description="Private Podmans, for trying things by hand")
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {
        "start": "start a Podman with its API and print the line that makes a shell use it",
        "stop": "close it and all it made",
        "cli": "run podman itself, beside the API",
        "prepare": "only fetch its programs",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        if name != "prepare":
            command.add_argument("--dir", type=Path, help="its folder (short, please)")
        command.add_argument("suite", choices=PODMANS)
        if name == "cli":
            command.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    try:
        if given.command == "prepare":
            print(prepare(given.suite))
            return 0
        podman = PrivatePodman(given.suite, given.dir or Path("/tmp") / f"sentinel-hand-podman-{given.suite}")
        if given.command == "start":
            if not podman.alive():
                podman.start()
            print(f"export DOCKER_HOST={shlex.quote(podman.host)}", flush=True)
        elif given.command == "stop":
            podman.close()
            log(f"closed {podman.dir}")
        else:
            return subprocess.run(podman._command(*given.arguments), env=podman._environ(), check=False).returncode
    except EngineError as error:
        log(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
