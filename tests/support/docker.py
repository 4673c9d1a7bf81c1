"""A thin helper around a real Docker Engine for the end-to-end tests.

Everything goes through the Docker client and Compose, as a user's commands would, so that these
tests share no code with Sentinel.  Standard library only.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from support import engines

IMAGE = "sentinel-test:latest"
PROJECT_LABEL = "com.docker.compose.project"

T = TypeVar("T")


class DockerError(Exception):
    """A command of Docker or Compose failed; the text has what it said."""


def wait(predicate: Callable[[], T], timeout: float = 60.0, what: str = "the condition") -> T:
    """Poll until the predicate gives something true, and return that; fail after the time."""
    deadline = time.monotonic() + timeout
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what} (last: {result!r})")
        time.sleep(0.05)


class Engine:
    """A running Docker Engine."""

    def __init__(
        self, host: str, bin_dir: Path | str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.host = host
        self.env = dict(os.environ if environ is None else environ)
        self.env["DOCKER_HOST"] = host
        self.env["COMPOSE_PROGRESS"] = "plain"  # readable when shown with a failure
        if bin_dir is not None:
            self.env["PATH"] = f"{bin_dir}:{self.env.get('PATH', os.defpath)}"

    def _run(
        self, command: list[str], timeout: float, cwd: Path | None = None, stdin: bytes | None = None
    ) -> str:
        done = subprocess.run(
            command, input=stdin or b"", capture_output=True, env=self.env, cwd=cwd, timeout=timeout
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise DockerError(f"{' '.join(command)} failed ({done.returncode}): {said}")
        return done.stdout.decode(errors="replace").strip()

    def docker(self, *args: str, timeout: float = 60.0, stdin: bytes | None = None) -> str:
        """Run the Docker client and return what it printed."""
        return self._run(["docker", *args], timeout, stdin=stdin)

    @cached_property
    def _compose(self) -> list[str]:
        """Compose v2: as the client's plugin, or else as a program of its own."""
        for command in (["docker", "compose"], ["docker-compose"]):
            if engines.has_compose_v2(command, self.env):
                return command
        raise DockerError("there is no Compose v2 here")

    def compose(self, project_dir: Path, *args: str, timeout: float = 120.0) -> str:
        """Run Compose v2 in a project's folder and return what it printed."""
        return self._run([*self._compose, *args], timeout, cwd=project_dir)

    @cached_property
    def version(self) -> str:
        """The engine's version."""
        return self.docker("version", "--format", "{{.Server.Version}}")

    def inspect(self, name: str) -> dict[str, Any]:
        """All that the engine knows about a container."""
        found: list[dict[str, Any]] = json.loads(self.docker("container", "inspect", name))
        return found[0]

    def state(self, name: str) -> dict[str, Any]:
        """The State part of a container's inspection."""
        state: dict[str, Any] = self.inspect(name)["State"]
        return state

    def log_of(self, name: str) -> str:
        """What a container has written to standard output and standard error."""
        done = subprocess.run(["docker", "logs", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.env,
                              timeout=60, check=False)  # fmt: skip
        return done.stdout.decode(errors="replace")

    def exists(self, name: str) -> bool:
        """Whether there is such a container."""
        with contextlib.suppress(DockerError):
            return bool(self.inspect(name))
        return False

    def host_pid(self, name: str) -> int:
        """The container's main process, as this machine numbers it."""
        pid = int(self.state(name)["Pid"])
        if pid <= 0:
            raise DockerError(f"{name} is not running")
        return pid

    def kill_from_host(self, name: str, number: int) -> int:
        """Signal the main process behind the engine's back; returns its process id."""
        pid = self.host_pid(name)
        os.kill(pid, number)
        return pid

    def can_kill_from_host(self) -> bool:
        """Whether this engine's containers are processes of this machine that we may signal."""
        return os.geteuid() == 0 and self.host.startswith("unix://")

    def wait(
        self, predicate: Callable[[], T], timeout: float = 60.0, what: str = "the condition"
    ) -> T:
        """See wait() of this module."""
        return wait(predicate, timeout, what)

    def ids(self, *filters: str) -> list[str]:
        """The containers, running or not, that pass all filters (like label=x=y)."""
        options = [option for given in filters for option in ("--filter", given)]
        return self.docker("ps", "--all", "--quiet", "--no-trunc", *options).split()

    def remove(self, *names: str) -> None:
        """Remove containers, whatever they do."""
        if names:
            self.docker("rm", "--force", "--volumes", *names)

    @contextlib.contextmanager
    def project(self, tmp_path: Path, yaml_text: str) -> Iterator[Project]:
        """A Compose project of this text with a name of its own, taken away at the end."""
        made = Project(self, tmp_path, yaml_text)
        try:
            yield made
        finally:
            made.remove()


class Project:
    """A Compose project in a folder of its own."""

    def __init__(self, engine: Engine, tmp_path: Path, yaml_text: str) -> None:
        self.engine = engine
        self.name = f"st{uuid.uuid4().hex[:10]}"
        self.dir = tmp_path / self.name
        self.dir.mkdir(parents=True)
        self.file = self.dir / "compose.yaml"
        self.write(yaml_text)

    def write(self, yaml_text: str) -> None:
        """(Re)write compose.yaml; up() then carries out the changes."""
        self.file.write_text(yaml_text, encoding="utf-8")

    def run(self, *args: str, timeout: float = 120.0) -> str:
        """Run a command of Compose on this project, like run("ps", "--all")."""
        return self.engine.compose(self.dir, "--project-name", self.name, *args, timeout=timeout)

    def up(self, *args: str) -> str:
        """Start all services (or those named) in the background."""
        return self.run("up", "--detach", *args)

    def container(self, service: str, index: int = 1) -> str:
        """The name that Compose gives a service's container."""
        return f"{self.name}-{service}-{index}"

    def ids(self) -> list[str]:
        """All containers of this project."""
        return self.engine.ids(f"label={PROJECT_LABEL}={self.name}")

    def remove(self) -> None:
        """Take the project away, and whatever carries its label."""
        # First the containers, by force: Compose would wait for some, paused ones for one.
        with contextlib.suppress(DockerError, subprocess.TimeoutExpired):
            self.engine.remove(*self.ids())
        with contextlib.suppress(DockerError, subprocess.TimeoutExpired):
            self.run("down", "--volumes", "--remove-orphans", "--timeout", "0")


def image_tar() -> bytes:
    """The files of a tiny image: busybox with a link for each of its commands."""
    busybox = engines.static_busybox()
    applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "root"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        program = tarfile.TarInfo("bin/busybox")
        program.mode, program.size = 0o755, busybox.stat().st_size
        with open(busybox, "rb") as file:
            tar.addfile(program, file)
        passwd = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
        users = tarfile.TarInfo("etc/passwd")
        users.size = len(passwd)
        tar.addfile(users, io.BytesIO(passwd))
        for applet in sorted(set(applets.stdout.split()) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return buffer.getvalue()


def ensure_image(engine: Engine) -> bool:
    """Make the test image unless it is there; whether it was made now."""
    if engine.docker("image", "ls", "--quiet", IMAGE):
        return False
    engine.docker("import", "--change", 'CMD ["sh"]', "-", IMAGE, stdin=image_tar())
    return True


def probe(engine: Engine) -> None:
    """Run one container, since an engine that answers need not be able to do that."""
    ensure_image(engine)
    engine.docker("run", "--rm", "--network", "none", IMAGE, "true")
