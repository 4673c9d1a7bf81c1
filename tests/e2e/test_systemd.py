"""The unit under a real systemd: installed by its own instructions, in a container that is a small machine.

That container is a Debian whose first process is systemd; it has the engine's socket and nothing else of this machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import docker, engines
from support import image as images
from support.docker import DockerError, Engine, Project
from support.fake_discord import FakeDiscord
from support.sentinel import do, stack, versions

MakeProject = Callable[[str], Project]
IMAGE = "sentinel-test-systemd:latest"
UNIT = images.ROOT / "sentinel.service"
#: Does sentinel.py speak to the service manager? Until it does, the rest of the unit can be tried all the same.
NOTIFIES = "NOTIFY_SOCKET" in (images.ROOT / "sentinel.py").read_text(encoding="utf-8")
SILENT = "" if NOTIFIES else "Type=exec\nWatchdogSec=0\n"
#: Credentials are mounted in a namespace of their own, and get into the service's only if mounts are shared.
BOOT = "mount --make-rshared / && exec /lib/systemd/systemd"


class Machine:
    """A container with systemd, in which commands can be run."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name

    def run(self, script: str, stdin: bytes = b"") -> str:
        """Run these lines as root."""
        return self.engine.docker("exec", "-i", self.name, "sh", "-ec", script, stdin=stdin)

    def property(self, name: str) -> str:
        """What systemd says of the unit."""
        return self.run(f"systemctl show --property {name} --value sentinel")

    def journal(self) -> str:
        """What the unit has written."""
        return self.run("journalctl --unit sentinel --no-pager --output cat")

    def wait_journal(self, pattern: str) -> None:
        """Wait until the unit has written this."""
        try:
            docker.wait(lambda: re.search(pattern, self.journal()), 30, f"{pattern!r} in the journal")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.journal()}") from None

    def wait_property(self, name: str, wanted: str) -> None:
        """Wait until systemd says this of the unit."""
        docker.wait(lambda: self.property(name) == wanted, 60, f"{name} to be {wanted}")

    def settings(self, lines: str) -> None:
        """Settings of the administrator's own, as `systemctl edit` makes them."""
        folder = "/etc/systemd/system/sentinel.service.d"
        self.run(f"mkdir -p {folder}; cat > {folder}/test.conf", f"[Service]\n{SILENT}{lines}\n".encode())
        self.run("systemctl daemon-reload")


@pytest.fixture(scope="module")
def booted(engine: Engine) -> Iterator[Engine]:
    """The engine, with an image of a Debian that has systemd."""
    if os.environ.get("SENTINEL_E2E_SUITE") is None or not engine.can_kill_from_host():
        pytest.skip("only where tests/run starts private engines: it takes a privileged container")
    if int(engine.version.partition(".")[0]) < 23:
        pytest.skip("an engine this old can't grant all the capabilities that a new kernel has")
    try:
        tar = images.base_tar("python3", "systemd", "systemd-sysv")
    except engines.EngineError as error:
        pytest.skip(str(error))
    engine.docker("import", str(tar), IMAGE, timeout=180)
    yield engine
    engine.docker("image", "rm", "--force", IMAGE)


@pytest.fixture
def discord() -> Iterator[FakeDiscord]:
    with FakeDiscord() as fake:
        yield fake
        assert fake.lint == [] and fake.refused == []


@pytest.fixture
def machine(booted: Engine, discord: FakeDiscord) -> Iterator[Machine]:
    """A machine on which Sentinel has been installed as the unit says, but not been started yet."""
    name = f"sentinel-test-{uuid.uuid4().hex[:8]}"
    socket = Path(booted.host.removeprefix("unix://"))
    try:
        booted.docker("run", "--detach", "--name", name, "--privileged", "--cgroupns", "private", "--network", "host",
                      "--tmpfs", "/run", "--tmpfs", "/tmp", "--volume", f"{socket}:/engine.sock", IMAGE, "sh", "-c",
                      BOOT)  # fmt: skip
        made = Machine(booted, name)
        docker.wait(lambda: is_up(made), 30, "systemd to be up")
        made.run(f"groupadd --non-unique --gid {socket.stat().st_gid} docker; ln -s /engine.sock /run/docker.sock")
        for file in (UNIT, UNIT.with_name("sentinel.py")):
            made.run(f"cat > /root/{file.name}", file.read_bytes())
        made.settings("")
        install = re.findall(r"^#   (.*)$", UNIT.read_text(encoding="utf-8"), re.M)
        *install, start = [line.replace("https://discord.com/api/webhooks/…", discord.add_webhook().url) for line in install]
        assert start == "systemctl daemon-reload && systemctl enable --now sentinel"
        made.run("cd /root\n" + "\n".join(install) + "\nsystemctl daemon-reload")
        yield made
        print(made.journal())
    finally:
        booted.remove(name)


def is_up(machine: Machine) -> bool:
    """Whether systemd has done what there is to do at the start."""
    with contextlib.suppress(DockerError):
        return machine.run("systemctl is-system-running || true") in ("running", "degraded")
    return False


def test_installed_as_it_says_it_tells_a_death_from_inside_its_sandbox(machine: Machine, discord: FakeDiscord,
                                                                     project: MakeProject) -> None:  # fmt: skip
    made = project(stack(web={}))
    made.up()
    machine.settings(f"Environment=SENTINEL_PROJECTS={made.name} SENTINEL_SETTLE=2s")
    machine.run("systemctl enable --now sentinel")
    machine.wait_journal(f"watching {made.container('web')} ")
    do(machine.engine, made.container("web"), "exit 3")
    wanted = {f"[DEAD] {made.container('web')}", f"Recovered: {made.container('web')}"}
    discord.wait_for(lambda _: wanted <= {alert.title for message in discord.messages for alert in versions(message)}, 20)
    status = machine.run("cat /proc/$(systemctl show --property MainPID --value sentinel)/status")
    fields = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.M))
    assert int(fields["Uid"].split()[0]) > 60000 and int(fields["CapEff"], 16) == 0 and int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    assert "sentinel.db" in machine.run("ls /var/lib/sentinel/") and "ledger" not in machine.journal()
    # No secret is in what anybody on the machine may see.
    assert "webhooks" not in machine.run("systemctl show sentinel; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    machine.run("systemctl stop sentinel")
    assert (machine.property("Result"), machine.property("ExecMainStatus")) == ("success", "0")


def test_settings_that_make_no_sense_do_not_make_it_start_again_and_again(machine: Machine) -> None:
    machine.settings("Environment=SENTINEL_POLL_INTERVAL=never\nRestartSec=100ms")
    machine.run("systemctl start sentinel || true")
    machine.wait_property("ActiveState", "failed")
    assert (machine.property("ExecMainStatus"), machine.property("NRestarts")) == ("78", "0")
    assert "SENTINEL_POLL_INTERVAL" in machine.journal()


def test_killed_it_is_started_again(machine: Machine) -> None:
    machine.settings("RestartSec=100ms")
    machine.run("systemctl start sentinel")
    machine.wait_journal("the engine of .* answers")
    machine.run("systemctl kill --signal KILL sentinel")
    machine.wait_property("NRestarts", "1")
    machine.wait_property("ActiveState", "active")


@pytest.mark.skipif(not NOTIFIES, reason="sentinel.py does not speak to the service manager yet")
def test_frozen_it_is_ended_and_started_again(machine: Machine) -> None:
    machine.settings("RestartSec=100ms\nWatchdogSec=10\nTimeoutAbortSec=1")
    machine.run("systemctl start sentinel")
    machine.wait_journal("the engine of .* answers")
    assert machine.property("StatusText"), "one useful line"
    machine.run("systemctl kill --signal STOP --kill-whom main sentinel")
    machine.wait_property("NRestarts", "1")
    machine.wait_property("ActiveState", "active")
    assert "Watchdog timeout" in machine.run("journalctl --no-pager --output cat")


@pytest.mark.skipif(not NOTIFIES, reason="sentinel.py does not speak to the service manager yet")
def test_without_an_engine_it_is_ready_all_the_same(machine: Machine) -> None:
    machine.run("rm /run/docker.sock")
    machine.run("systemctl start sentinel")
    assert machine.property("ActiveState") == "active"
