#!/usr/bin/env python3
"""Private Docker engines for the end-to-end tests, and for trying things by hand.

Takes Docker Engine, containerd, runc and Compose from Debian's packages of a chosen suite and
unpacks them into a cache folder: nothing is installed into the system.  Each engine has a data
root, a socket and a cgroup of its own, so it disturbs neither another engine nor the system, and
closing it leaves no process, mount or cgroup behind.  Standard library only.

By hand, as root:

    eval "$(python3 tests/support/engines.py start forky)"
    docker version
    python3 tests/support/engines.py stop forky
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

#: Newest first, which is also the order in which the test command falls back.
SUITES = ("forky", "trixie", "bookworm")
#: One runc for all engines: bookworm's also runs on machines with cgroup v1.
RUNC_SUITES = ("bookworm", "trixie", "forky")
#: Bookworm has no Compose v2, and the newest one works with every engine.
COMPOSE_SUITES = ("forky", "trixie")
#: Raise it when the layout of the cache changes: bundles of another layout are made anew.
LAYOUT = 1

#: Libraries that a minimal Debian may lack, with the packages that have them.
LIBRARIES = {
    "libdevmapper.so.1.02.1": "libdevmapper1.02.1",
    "libgcrypt.so.20": "libgcrypt20",
    "libgpg-error.so.0": "libgpg-error0",
    "liblz4.so.1": "liblz4-1",
    "libseccomp.so.2": "libseccomp2",
    "libsystemd.so.0": "libsystemd0",
}
DEBIAN_RELEASES = frozenset(
    ["bookworm", "trixie", "forky", "duke", "sid", "oldstable", "stable", "testing", "unstable"]
)
DEFAULT_SOCKETS = ("/run/docker.sock", "/var/run/docker.sock", "~/.docker/run/docker.sock")
DIR_PREFIX = "sentinel-engine-"
#: What daemons make outside the folders that they are given, the deepest first; folders are empty.
FOOTPRINTS = (
    "/etc/docker/key.json",
    "/etc/docker",
    "/run/containerd/s",
    "/run/containerd",
    "/run/docker/plugins",
    "/run/docker",
)

CONTAINERD_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
# Kubernetes' part, which Docker does not use and which would leave folders in the system.
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.nri.v1.nri",
]
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
"""


class EngineError(Exception):
    """An engine cannot be had here; the text says why, for people."""


def cache_root() -> Path:
    """The folder for all that the tests download."""
    chosen = os.environ.get("SENTINEL_TEST_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(base).expanduser() / "sentinel-tests").resolve()


def log(text: str) -> None:
    """Tell people what is going on; standard output is kept for results."""
    print(f"[engines] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time prepares the cache."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def one_at_a_time() -> contextlib.AbstractContextManager[None]:
    """For tests that take all that the machine has, or what it has only once: they wait for each other."""
    return locked(cache_root() / "heavy")


# --------------------------------------------------------------------------- Debian's packages


def parse_deb822(text: str) -> Iterator[dict[str, str]]:
    """Stanzas of a .sources file, keys in lower case, continuation lines kept as they are."""
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and key:
                fields[key] += "\n" + line
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if fields:
            yield fields


def parse_one_line(text: str) -> Iterator[dict[str, str]]:
    """Entries of a .list file, in the form of deb822 stanzas."""
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)", line)
        if not found:
            continue
        options, uri, suite, components = found.groups()
        entry = {"types": "deb", "uris": uri, "suites": suite, "components": components.strip()}
        for option in (options or "").split():
            key, _, value = option.partition("=")
            entry[key.lower()] = value
        yield entry


def apt_entries(etc: Path) -> Iterator[dict[str, str]]:
    """Every package source of this machine."""
    parts = etc / "sources.list.d"
    for path in [etc / "sources.list", *sorted(parts.glob("*.list"))]:
        with contextlib.suppress(OSError):
            yield from parse_one_line(path.read_text(encoding="utf-8", errors="replace"))
    for path in sorted(parts.glob("*.sources")):
        with contextlib.suppress(OSError):
            yield from parse_deb822(path.read_text(encoding="utf-8", errors="replace"))


def debian_source(etc: Path = Path("/etc/apt")) -> dict[str, str]:
    """The entry with this machine's mirror of Debian itself (not security or updates)."""
    for entry in apt_entries(etc):
        usable = (
            "deb" in entry.get("types", "").split()
            and entry.get("enabled", "yes").lower() not in ("no", "false", "0")
            and "main" in entry.get("components", "").split()
            and DEBIAN_RELEASES & set(entry.get("suites", "").split())
        )
        if usable:
            return entry
    raise EngineError("no Debian mirror is among apt's sources, so no engine can be fetched")


def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command quietly; raise with what it said when it fails."""
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            command, capture_output=True, text=True, check=False, **options
        )
    except OSError as error:
        raise EngineError(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise EngineError(f"{shlex.join(command)} failed ({done.returncode}): {said}")
    return done  # type: ignore[no-any-return]


class Apt:
    """apt for one suite with a state of its own, so that neither root nor the system is touched."""

    def __init__(self, suite: str, cache: Path) -> None:
        self.suite = suite
        self.dir = cache / "apt" / suite
        self.updated = False

    def configure(self) -> Path:
        """Write the sources and the settings; the machine's own proxy settings stay in force."""
        for name in ("state/lists/partial", "cache/archives/partial", "sources.list.d"):
            (self.dir / name).mkdir(parents=True, exist_ok=True)
        source = debian_source()
        lines = ["Types: deb", f"URIs: {source['uris']}", f"Suites: {self.suite}"]
        lines.append("Components: main")
        lines += [f"{key}: {source[key]}" for key in ("signed-by", "trusted") if key in source]
        (self.dir / "sources.list.d" / "suite.sources").write_text("\n".join(lines) + "\n")
        (self.dir / "status").write_text("")
        settings = {
            "Dir::State": self.dir / "state",
            "Dir::State::status": self.dir / "status",
            "Dir::Cache": self.dir / "cache",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self.dir / "sources.list.d",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Sandbox::User": "root",  # the cache folder need not be open to user _apt
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        # The machine's hooks would act on the system's own lists and caches.
        hooks = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
        text = "".join(f"#clear APT::Update::{hook};\n" for hook in hooks)
        text += "".join(f'{key} "{value}";\n' for key, value in settings.items())
        path = self.dir / "apt.conf"
        path.write_text(text)
        return path

    def download(self, package: str, into: Path) -> Path:
        """Fetch one package; the lists are fetched before the first one."""
        if not shutil.which("apt-get"):
            raise EngineError("apt-get is not here: engines can be fetched on Debian only")
        config = self.configure()
        if not self.updated:
            log(f"reading the package lists of {self.suite}")
            run(["apt-get", "-q", "-c", str(config), "update"], timeout=600)
            self.updated = True
        run(["apt-get", "-q", "-c", str(config), "download", package], cwd=into, timeout=900)
        return next(iter(into.glob("*.deb")))


class Packages:
    """Unpacked packages in the cache folder."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.apts = {suite: Apt(suite, cache) for suite in SUITES}

    def get(self, suite: str, package: str) -> Path:
        """The folder into which the package is unpacked; fetched unless it is there."""
        target = self.cache / "packages" / suite / package
        if (target / "version").is_file():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as name:
            new = Path(name)
            deb = self.apts[suite].download(package, new)
            log(f"unpacking {deb.name}")
            run(["dpkg", "-x", str(deb), str(new / "root")])
            version = run(["dpkg-deb", "-f", str(deb), "Version"]).stdout.strip()
            (new / "version").write_text(version + "\n")
            deb.unlink()
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(new, target, symlinks=True)
        return target

    def first(self, suites: tuple[str, ...], package: str) -> Path:
        """The package of the first suite that (still) has it."""
        problems: list[str] = []
        for suite in suites:
            try:
                return self.get(suite, package)
            except EngineError as error:
                problems.append(str(error))
        raise EngineError(problems[0])

    def tidy(self) -> None:
        """Drop the package lists: they are big, and read anew when needed."""
        shutil.rmtree(self.cache / "apt", ignore_errors=True)


# --------------------------------------------------------------------------- bundles of programs


@dataclass(frozen=True)
class Tools:
    """The programs of one engine, or of a client alone, ready in a folder."""

    suite: str
    root: Path

    @property
    def bin_dir(self) -> Path:
        return self.root / "bin"

    @property
    def manifest(self) -> dict[str, str]:
        """Versions of the packages, by name."""
        data: dict[str, str] = json.loads((self.root / "complete").read_text())
        return data

    @property
    def version(self) -> str:
        """Upstream's version of Docker Engine, as the running engine will give it."""
        return re.split(r"[+~-]", self.manifest.get("docker.io", "").rpartition(":")[2])[0]

    def environ(self, base: Mapping[str, str], host: str | None = None) -> dict[str, str]:
        """The environment in which the programs find each other."""
        env = {**base, "PATH": f"{self.bin_dir}:{base.get('PATH', os.defpath)}"}
        env["DOCKER_CONFIG"] = str(self.root / "config")
        if any((self.root / "lib").iterdir()):
            env["LD_LIBRARY_PATH"] = str(self.root / "lib")
        env.pop("DOCKER_CONTEXT", None)
        if host:
            env["DOCKER_HOST"] = host
        return env


def link_programs(folder: Path, bin_dir: Path) -> None:
    """Put links to all programs of an unpacked package into one folder."""
    for place in ("bin", "sbin", "usr/bin", "usr/sbin"):
        for program in sorted((folder / "root" / place).glob("*")):
            link = bin_dir / program.name
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.realpath(program))


def missing_libraries(bin_dir: Path) -> set[str]:
    """Shared libraries that the programs want and that this machine lacks."""
    missing: set[str] = set()
    for program in bin_dir.iterdir():
        done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
        missing |= set(re.findall(r"^\s*(\S+) => not found", done.stdout, re.MULTILINE))
    return missing


def add_libraries(packages: Packages, suite: str, bin_dir: Path, lib_dir: Path) -> None:
    """Bring along the libraries that are missing here, and only those."""
    for library in sorted(missing_libraries(bin_dir)):
        if library not in LIBRARIES:
            raise EngineError(f"{suite}'s engine needs {library}, which this machine lacks")
        folder = packages.first((suite, *SUITES), LIBRARIES[library])
        for path in (folder / "root").rglob(library):
            (lib_dir / library).symlink_to(os.path.realpath(path))


def wanted_packages(packages: Packages, suite: str, with_engine: bool) -> dict[str, Path]:
    """Fetch what a bundle consists of."""
    folders: dict[str, Path] = {}
    if with_engine:
        folders["docker.io"] = packages.get(suite, "docker.io")
        folders["containerd"] = packages.get(suite, "containerd")
        folders["runc"] = packages.first(RUNC_SUITES, "runc")
        folders["busybox-static"] = packages.first(RUNC_SUITES, "busybox-static")
    # The client moved into a package of its own in trixie; in bookworm it is in docker.io.
    engine = folders.get("docker.io")
    if engine is None or not (engine / "root/usr/bin/docker").exists():
        folders["docker-cli"] = packages.get(suite, "docker-cli")
    folders["docker-compose"] = packages.first(COMPOSE_SUITES, "docker-compose")
    return folders


def prepare(suite: str, with_engine: bool = True) -> Tools:
    """Get the programs of a suite into the cache; quick when they are there."""
    cache = cache_root()
    kind = "engines" if with_engine else "clients"
    tools = Tools(suite, cache / kind / f"{suite}-{LAYOUT}")
    with locked(cache):
        if (tools.root / "complete").is_file():
            return tools
        packages = Packages(cache)
        folders = wanted_packages(packages, suite, with_engine)
        shutil.rmtree(tools.root, ignore_errors=True)
        for name in ("bin", "lib", "config/cli-plugins"):
            (tools.root / name).mkdir(parents=True)
        for folder in folders.values():
            link_programs(folder, tools.bin_dir)
        # Linked from wherever the package has it, so that "docker compose" works as well.
        plugin = folders["docker-compose"] / "root/usr/libexec/docker/cli-plugins/docker-compose"
        for link in (tools.root / "config/cli-plugins/docker-compose", tools.bin_dir / plugin.name):
            link.unlink(missing_ok=True)
            link.symlink_to(plugin)
        add_libraries(packages, suite, tools.bin_dir, tools.root / "lib")
        versions = {name: (path / "version").read_text().strip() for name, path in folders.items()}
        (tools.root / "complete").write_text(json.dumps(versions, indent=1) + "\n")
        packages.tidy()
    return tools


def static_busybox() -> Path:
    """A busybox without need of libraries, to make an image of."""
    for place in ("/bin/busybox", "/usr/bin/busybox"):
        path = Path(place)
        # A program that is dynamically linked names its loader at its very beginning.
        if path.is_file() and b"/ld-linux" not in path.read_bytes()[:4096]:
            return path
    with locked(cache_root()):
        packages = Packages(cache_root())
        folder = packages.first(RUNC_SUITES, "busybox-static")
        packages.tidy()
    return next((folder / "root").rglob("bin/busybox"))


# --------------------------------------------------------------------------- talking to an engine


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float = 3.0) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ping(host: str, timeout: float = 3.0) -> bool:
    """Whether an engine answers at unix://…, tcp://… (without TLS) or, via the client, elsewhere."""
    scheme, _, rest = host.partition("://")
    if scheme not in ("unix", "tcp") or os.environ.get("DOCKER_TLS_VERIFY"):
        try:
            run(["docker", "--host", host, "version"], timeout=30)
        except (EngineError, subprocess.TimeoutExpired):
            return False
        return True
    connection: http.client.HTTPConnection
    if scheme == "unix":
        connection = UnixConnection(rest, timeout)
    else:
        connection = http.client.HTTPConnection(rest.rstrip("/"), timeout=timeout)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def find_running() -> str | None:
    """The address of an engine that is already there: DOCKER_HOST, then the usual sockets."""
    places = [f"unix://{Path(name).expanduser()}" for name in DEFAULT_SOCKETS]
    if "XDG_RUNTIME_DIR" in os.environ:
        places.append(f"unix://{os.environ['XDG_RUNTIME_DIR']}/docker.sock")
    if os.environ.get("DOCKER_HOST"):
        places = [os.environ["DOCKER_HOST"]]
    return next((place for place in places if ping(place)), None)


def has_compose_v2(command: list[str], env: Mapping[str, str]) -> bool:
    """Whether the command is Compose 2 or newer."""
    try:
        done = subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, check=False, env=env
        )
    except OSError:
        return False
    return done.returncode == 0 and not done.stdout.lstrip("v").startswith("1.")


def client_environ(host: str, base: Mapping[str, str]) -> dict[str, str]:
    """An environment with the client and Compose v2 for an engine that is already there."""
    env = {**base, "DOCKER_HOST": host}
    plugin = has_compose_v2(["docker", "compose"], env)
    if shutil.which("docker") and (plugin or has_compose_v2(["docker-compose"], env)):
        return env
    for suite in COMPOSE_SUITES:
        try:
            return prepare(suite, with_engine=False).environ(base, host)
        except EngineError as error:
            problem = error
    raise EngineError(f"an engine answers at {host}, but there is no client for it: {problem}")


# --------------------------------------------------------------------------- processes and mounts


def wait_until(check: Callable[[], bool], timeout: float, step: float = 0.05) -> bool:
    """Poll until the check holds; false when it does not within the time."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(step)
    return True


def start_time(pid: int) -> str:
    """When the process started, in the kernel's ticks; empty when there is none (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def command_line(pid: int) -> list[str]:
    """The arguments of a process."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode(errors="replace").split("\0")[:-1]


def frozen(pid: int) -> bool:
    """Whether every thread of the process is stopped, or gone."""
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            if thread.read_text().rpartition(")")[2].split()[0] not in ("T", "t", "Z", "X"):
                return False
    return True


def send(pid: int, number: int) -> None:
    """Signal one process, which may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def mounts_below(folder: Path) -> list[str]:
    """Mount points inside a folder, the deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [re.sub(r"\\040", " ", line.split()[4]) for line in lines]
    return sorted((p for p in points if p.startswith(f"{folder}/")), key=len, reverse=True)


class Cgroup:
    """The cgroup below which an engine puts all its containers, in every hierarchy."""

    def __init__(self, name: str) -> None:
        self.name = name

    def folders(self) -> list[Path]:
        """Its folders and all below them, the deepest first (cgroup v1 has several trees)."""
        base = Path("/sys/fs/cgroup")
        tops = [path for path in (base / self.name, *base.glob(f"*/{self.name}")) if path.is_dir()]
        found = [path for top in tops for path in [top, *top.rglob("*")] if path.is_dir()]
        return sorted(set(found), key=lambda path: len(path.parts), reverse=True)

    def pids(self) -> set[int]:
        """All processes in it."""
        found: set[int] = set()
        for folder in self.folders():
            with contextlib.suppress(OSError):
                found |= {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
        return found

    def thaw(self) -> None:
        """Let paused containers go on: a frozen process cannot even be killed on cgroup v1."""
        for folder in self.folders():
            for file, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                if (folder / file).exists():
                    with contextlib.suppress(OSError):
                        (folder / file).write_text(word)

    def _kill_once(self) -> bool:
        """Kill what is there now; whether nothing was."""
        self.thaw()
        pids = self.pids()
        for pid in pids:
            send(pid, signal.SIGKILL)
        return not pids

    def remove(self) -> None:
        """Kill everything in it and take it away."""
        wait_until(self._kill_once, 10)
        for folder in self.folders():
            with contextlib.suppress(OSError):
                folder.rmdir()


def shim_sockets(pid: int) -> set[str]:
    """Sockets on which a shim listens: outside the engine's folder, and left when it is killed."""
    try:
        links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        table = Path(f"/proc/{pid}/net/unix").read_text()
    except OSError:
        return set()
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [line.split() for line in table.splitlines()[1:]]
    return {r[7] for r in rows if len(r) > 7 and r[6] in inodes and "/containerd/s/" in r[7]}


# --------------------------------------------------------------------------- the engine itself


class PrivateEngine:
    """A Docker Engine of one's own in a folder: start, stop, kill, freeze and restart it at will.

    As a context manager it is started on entry and closed, with all it made, on exit.
    """

    def __init__(
        self,
        suite: str,
        directory: Path | str | None = None,
        live_restore: bool = False,
        tools: Tools | None = None,
    ) -> None:
        self.suite = suite
        self.live_restore = live_restore
        self._tools = tools
        self._given = directory
        self.dir = Path()
        if directory is not None:
            self._settle(Path(directory).resolve())
        self._process: subprocess.Popen[bytes] | None = None
        self._containerd: subprocess.Popen[bytes] | None = None

    def _settle(self, folder: Path) -> None:
        self.dir = folder
        self.cgroup = Cgroup(f"{folder.name}-{zlib.crc32(bytes(folder)):08x}")

    # What others need to know

    @property
    def tools(self) -> Tools:
        if self._tools is None:
            self._tools = prepare(self.suite)
        return self._tools

    @property
    def socket(self) -> Path:
        return self.dir / "docker.sock"

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def containerd_socket(self) -> Path:
        return self.dir / "containerd.sock"

    @property
    def log_file(self) -> Path:
        return self.dir / "dockerd.log"

    def environ(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """An environment in which the client and Compose talk to this engine."""
        return self.tools.environ(os.environ if base is None else base, self.host)

    def exports(self) -> str:
        """The same as lines for a shell."""
        env = self.environ({"PATH": ""})
        path = env.pop("PATH").rstrip(":")
        lines = [f"export {key}={shlex.quote(env[key])}\n" for key in sorted(env)]
        return "".join(lines) + f'export PATH={shlex.quote(path)}:"$PATH"\n'

    @property
    def pid(self) -> int | None:
        """The daemon's process id while it runs."""
        if self._process is not None and self._process.poll() is not None:
            return None
        try:
            pid = int((self.dir / "docker.pid").read_text())
        except (OSError, ValueError):
            return None
        # The number may belong to some other process by now.
        ours = any(str(self.dir) in part for part in command_line(pid))
        return pid if ours and start_time(pid) else None

    def alive(self) -> bool:
        """Whether the daemon's process is there, be it frozen."""
        return self.pid is not None

    def answers(self, timeout: float = 3.0) -> bool:
        """Whether the daemon answers."""
        return ping(self.host, timeout)

    # Starting

    def _make_folder(self) -> None:
        if self._given is None:
            # Short on purpose: the path of a Unix socket is limited to 107 bytes.
            self._given = tempfile.mkdtemp(prefix=DIR_PREFIX, dir="/tmp")
            self._settle(Path(self._given).resolve())
            # So that the next run can clear up after one that was killed.
            owner = {"suite": self.suite, "pid": os.getpid(), "started": start_time(os.getpid())}
            (self.dir / "owner.json").write_text(json.dumps(owner))
        self.dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        (self.dir / "daemon.json").write_text(json.dumps({"live-restore": self.live_restore}))
        absent = self.dir / "absent.json"
        if not absent.exists():
            absent.write_text(json.dumps([path for path in FOOTPRINTS if not os.path.exists(path)]))

    def _command(self) -> list[str]:
        options = {
            "host": self.host,
            "containerd": self.containerd_socket,
            "data-root": self.dir / "data",
            "exec-root": self.dir / "exec",
            "pidfile": self.dir / "docker.pid",
            "config-file": self.dir / "daemon.json",  # the system's own is not for us
            "cgroup-parent": f"/{self.cgroup.name}",
            "exec-opt": "native.cgroupdriver=cgroupfs",  # works without systemd, too
            "group": "root",
            "bridge": "none",
            "iptables": "false",
            "ip6tables": "false",
            "ip-forward": "false",
            "ip-masq": "false",
            "userland-proxy": "false",
        }
        program = str(self.tools.bin_dir / "dockerd")
        return [program, *(f"--{key}={value}" for key, value in options.items())]

    def _spawn(self, command: list[str], log_file: Path) -> subprocess.Popen[bytes]:
        """Start a daemon that outlives this process, if need be."""
        with open(log_file, "ab") as output:
            # A session of its own: Ctrl-C ends the tests, which then close the engine in order.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.tools.environ(os.environ),
                start_new_session=True,
                cwd="/",
            )

    def _start_containerd(self) -> None:
        """A service of its own, as on real machines: it does not go down with Docker's daemon."""
        if any(Path(command_line(pid)[0]).name == "containerd" for pid in self._helpers()):
            return
        folder = self.dir / "containerd"
        folder.mkdir(exist_ok=True)
        config = folder / "config.toml"
        config.write_text(CONTAINERD_CONFIG.format(folder=folder, socket=self.containerd_socket))
        program = str(self.tools.bin_dir / "containerd")
        self._containerd = self._spawn([program, "--config", str(config)], folder / "log")
        if not wait_until(self.containerd_socket.exists, 30):
            raise EngineError(f"{self.suite}'s containerd does not start, see {folder / 'log'}")

    def start(self, timeout: float = 60.0) -> None:
        """Start the daemon and wait until it answers."""
        if os.geteuid() != 0:
            raise EngineError("a private engine needs root")
        if self.alive():
            raise EngineError(f"an engine runs in {self.dir} already")
        self._make_folder()
        (self.dir / "docker.pid").unlink(missing_ok=True)
        self._start_containerd()
        self._process = process = self._spawn(self._command(), self.log_file)
        wait_until(lambda: process.poll() is not None or self.answers(1), timeout)
        if not self.answers():
            reason = self.log_tail()
            self.close(keep_log=True)
            raise EngineError(f"{self.suite}'s engine does not start:\n{reason}")

    def log_tail(self, lines: int = 15) -> str:
        """The end of the daemon's log."""
        try:
            text = self.log_file.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    # Stopping and worse

    def stop(self, number: int = signal.SIGTERM, timeout: float = 40.0) -> None:
        """End the daemon with a signal and wait; its folder stays, start() works again."""
        pid = self.pid
        if pid is None:
            return
        send(pid, number)
        send(pid, signal.SIGCONT)  # one that is frozen would never see the other signal
        if not wait_until(lambda: self.pid is None, timeout):
            send(pid, signal.SIGKILL)
            if not wait_until(lambda: self.pid is None, 10):
                raise EngineError(f"process {pid} of {self.suite}'s engine cannot be ended")

    def kill(self) -> None:
        """End the daemon as a crash would: its containers go on for the time being."""
        self.stop(signal.SIGKILL)

    def restart(self, number: int = signal.SIGTERM) -> None:
        """Stop the daemon and start it again."""
        self.stop(number)
        self.start()

    def freeze(self) -> None:
        """Make the daemon hang: its socket accepts connections, but nobody answers."""
        if self.pid is not None:
            send(self.pid, signal.SIGSTOP)
            pid = self.pid
            wait_until(lambda: frozen(pid), 10.0)  # its threads stop one after the other

    def thaw(self) -> None:
        """Undo freeze()."""
        if self.pid is not None:
            send(self.pid, signal.SIGCONT)

    # Leaving nothing behind

    def _remove_containers(self) -> None:
        """Through the engine, while it can: that takes away shims and mounts in good order."""
        self.thaw()
        if not self.answers():
            return
        docker = [str(self.tools.bin_dir / "docker"), "--host", self.host]
        env = self.environ()
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            done = subprocess.run([*docker, "ps", "-aq"], capture_output=True, env=env, timeout=20)
            ids = done.stdout.decode().split()
            if ids:
                command = [*docker, "rm", "--force", "--volumes", *ids]
                subprocess.run(command, capture_output=True, env=env, timeout=60)

    def _helpers(self) -> list[int]:
        """containerd and the shims of this engine, known by our folder among their arguments."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            line = command_line(int(entry.name))
            name = Path(line[0]).name if line else ""
            ours = any(f"{self.dir}/" in part for part in line[1:])
            if ours and name.startswith(("containerd", "dockerd", "docker-proxy")):
                found.append(int(entry.name))
        return found

    def _remove_leftovers(self) -> None:
        """What a crash of the daemon leaves: processes, sockets, mounts and cgroups."""
        sockets: set[str] = set()
        for pid in self._helpers():
            sockets |= shim_sockets(pid)
            send(pid, signal.SIGKILL)
        wait_until(lambda: not any(start_time(pid) for pid in self._helpers()), 10)
        self.cgroup.remove()
        for name in sockets:
            with contextlib.suppress(OSError):
                os.unlink(name)
        for point in mounts_below(self.dir):
            subprocess.run(["umount", "-l", point], capture_output=True, check=False)
        self._remove_footprints()

    def _remove_footprints(self) -> None:
        """Take away what was not there before this engine, unless others use it by now."""
        try:
            absent = json.loads((self.dir / "absent.json").read_text())
        except (OSError, ValueError):
            return
        for path in FOOTPRINTS:
            if path in absent:
                with contextlib.suppress(OSError):
                    # rmdir refuses a folder with anything in it.
                    os.rmdir(path) if os.path.isdir(path) else os.unlink(path)

    def close(self, keep_log: bool = False) -> None:
        """Stop everything and remove the folder (or all of it but the log)."""
        if self._given is None or not self.dir.is_dir():
            return
        try:
            self._remove_containers()
            self.stop()
        finally:
            self._remove_leftovers()
            if self._containerd is not None:
                self._containerd.wait(10)
            if not mounts_below(self.dir):  # never delete through a mount
                for entry in list(self.dir.iterdir()):
                    if keep_log and entry == self.log_file:
                        continue
                    remove(entry)
                with contextlib.suppress(OSError):
                    self.dir.rmdir()

    def __enter__(self) -> PrivateEngine:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def remove(path: Path) -> None:
    """Delete a file or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# --------------------------------------------------------------------------- engines of dead runs


def close_stale() -> None:
    """Close the engines of test runs that were killed before they could do it themselves."""
    for file in Path("/tmp").glob(f"{DIR_PREFIX}*/owner.json"):
        try:
            owner = json.loads(file.read_text())
        except (OSError, ValueError):
            continue
        if start_time(int(owner["pid"])) != owner["started"]:
            log(f"clearing up {file.parent}, left by a run that was killed")
            PrivateEngine(str(owner["suite"]), file.parent).close()


# --------------------------------------------------------------------------- by hand


def hand_dir(suite: str) -> Path:
    """Where an engine that was started by hand lives."""
    return Path("/tmp") / f"sentinel-hand-{suite}"


def start_by_hand(suite: str, folder: Path, live_restore: bool) -> None:
    """Start an engine that goes on after this process, and print how to reach it."""
    engine = PrivateEngine(suite, folder, live_restore)
    if not engine.alive():
        engine.start()
    (engine.dir / "suite").write_text(suite)
    (engine.dir / "env").write_text(engine.exports())
    sys.stdout.write(engine.exports())
    sys.stdout.flush()


def stop_by_hand(folder: Path) -> None:
    """Close an engine that was started by hand."""
    try:
        suite = (folder / "suite").read_text().strip()
    except OSError:
        raise EngineError(f"no engine that was started by hand is in {folder}") from None
    PrivateEngine(suite, folder).close()
    log(f"closed {folder}")


def main(arguments: list[str]) -> int:
    """Start and stop engines by hand."""
    parser = argparse.ArgumentParser(description="Private Docker engines, for trying things by hand")
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {
        "start": "start an engine and print the lines that make a shell use it",
        "stop": "close it and all it made",
        "prepare": "only fetch its programs",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("suite", choices=SUITES, nargs="?", default=SUITES[0])
        if name != "prepare":
            command.add_argument("--dir", type=Path, help="its folder (short, please)")
        if name == "start":
            command.add_argument("--live-restore", action="store_true")
    given = parser.parse_args(arguments)
    try:
        if given.command == "prepare":
            print(prepare(given.suite).bin_dir)
            return 0
        folder = given.dir or hand_dir(given.suite)
        if given.command == "start":
            start_by_hand(given.suite, folder, given.live_restore)
        else:
            stop_by_hand(folder)
    except EngineError as error:
        log(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
