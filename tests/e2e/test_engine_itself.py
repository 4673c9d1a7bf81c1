"""The engine that the end-to-end tests rely on does what they rely on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from support.docker import IMAGE, Engine, Project
from support.engines import PrivateEngine, start_time

MakeProject = Callable[[str], Project]
OwnEngine = Callable[..., tuple[PrivateEngine, Engine]]

TWO_SERVICES = f"""
services:
  one:
    image: {IMAGE}
    network_mode: none
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
  two:
    image: {IMAGE}
    network_mode: none
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    depends_on: [one]
"""

# tail keeps the last line in memory, and that of /dev/zero never ends. Not at once: a busy engine tells of no memory that
# runs out within 0.2 s of a start.
GREEDY = f"""
services:
  greedy:
    image: {IMAGE}
    network_mode: none
    mem_limit: 16m
    memswap_limit: 16m
    command: ["sh", "-c", "sleep 2; exec tail /dev/zero"]
"""


def test_version_is_that_of_the_chosen_suite(engine: Engine) -> None:
    expected = os.environ.get("SENTINEL_E2E_VERSION")
    if not expected:
        pytest.skip("not a private engine")
    assert engine.version.startswith(expected)


def test_compose_starts_two_services(engine: Engine, project: MakeProject) -> None:
    made = project(TWO_SERVICES)
    made.up()
    assert len(made.ids()) == 2
    for service in ("one", "two"):
        details = engine.inspect(made.container(service))
        assert details["State"]["Running"]
        assert details["Config"]["Labels"]["com.docker.compose.service"] == service
        assert details["HostConfig"]["NetworkMode"] == "none"


def test_projects_do_not_disturb_each_other(engine: Engine, project: MakeProject) -> None:
    first, second = project(TWO_SERVICES), project(TWO_SERVICES)
    first.up()
    second.up("one")
    first.remove()
    assert first.ids() == []
    assert engine.state(second.container("one"))["Running"]


def test_kill_from_the_host_is_seen(engine: Engine, project: MakeProject) -> None:
    if not engine.can_kill_from_host():
        pytest.skip("the containers are not processes that this user may kill")
    made = project(TWO_SERVICES)
    made.up()
    victim = made.container("one")
    engine.kill_from_host(victim, signal.SIGKILL)
    engine.wait(lambda: not engine.state(victim)["Running"], what="the end of the container")
    state = engine.state(victim)
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 137, False)
    assert engine.state(made.container("two"))["Running"]


def test_memory_limit_sets_oom_killed(engine: Engine, project: MakeProject) -> None:
    made = project(GREEDY)
    made.up()
    victim = made.container("greedy")
    engine.wait(lambda: engine.state(victim)["Status"] == "exited", 30, "the OOM killer")
    state = engine.state(victim)
    assert (state["ExitCode"], state["OOMKilled"]) == (137, True)


@pytest.mark.parametrize("live_restore", [False, True])
def test_daemon_can_be_driven(own_engine: OwnEngine, tmp_path: Path, live_restore: bool) -> None:
    daemon, client = own_engine(live_restore=live_restore)
    with client.project(tmp_path, TWO_SERVICES) as made:
        made.up()
        pid = client.host_pid(made.container("one"))

        daemon.freeze()
        assert daemon.alive() and not daemon.answers(timeout=0.5)
        daemon.thaw()
        assert daemon.answers()

        daemon.kill()
        assert not daemon.alive() and not daemon.answers()
        assert start_time(pid), "a crash of the daemon ended a container"
        daemon.start()
        assert client.state(made.container("one"))["Running"] is live_restore

        daemon.stop()
        assert bool(start_time(pid)) is live_restore
        daemon.start()
        assert client.state(made.container("one"))["Running"] is live_restore


def test_closing_a_crashed_engine_leaves_nothing(own_engine: OwnEngine) -> None:
    daemon, client = own_engine()
    client.docker("run", "--detach", "--name=running", "--network=none", IMAGE, "sleep", "1000")
    client.docker("run", "--detach", "--name=paused", "--network=none", IMAGE, "sleep", "1000")
    client.docker("pause", "paused")
    pids = [client.host_pid(name) for name in ("running", "paused")]
    daemon.kill()
    daemon.close()
    assert not any(start_time(pid) for pid in pids)
    assert not daemon.dir.exists()
    assert str(daemon.dir) not in Path("/proc/self/mountinfo").read_text()
    assert daemon.cgroup.folders() == []
