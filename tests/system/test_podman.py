"""Podman: whether somebody has stopped it is read from its own inspect, and containers outlive its API service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fake_engine import Container, FakeEngine
from support.lives import Clock, Life
from support.system import add

import sentinel
from sentinel import Verdict, headline

KEEPING = ("no", "on-failure", "always", "unless-stopped")
CODES = [0, 3, 130, 143]
LONG = 400.0  # seconds, in which all is told and tried that ever will be

Begin = Callable[[FakeEngine], Life]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read from a stream for a moment is all there at once: it waits for nothing."""
    monkeypatch.setattr(sentinel, "QUIET_STREAM", 0.05)


@pytest.fixture(params=["podman-5.4", "podman-6.1"])
def podman(request: pytest.FixtureRequest, clock: Clock) -> Iterator[FakeEngine]:
    """A Podman that says who ended a container."""
    with FakeEngine(flavour=request.param) as fake:
        fake.backoff = 0.01
        yield fake
        fake.heal()


@pytest.fixture
def old_podman(clock: Clock) -> Iterator[FakeEngine]:
    """Podman 4.3.1, which does not."""
    with FakeEngine(flavour="podman") as fake:
        fake.backoff = 0.01
        yield fake
        fake.heal()


@pytest.fixture
def watch(clock: Clock, tmp_path: Path) -> Iterator[Begin]:
    """Lives of Sentinel that have been at it for five seconds, killed after the test."""
    begun: list[Life] = []

    def begin(engine: FakeEngine) -> Life:
        life = Life(engine, tmp_path, clock, watch="all")
        begun.append(life)
        life.__enter__()
        life.run(5)
        return life

    yield begin
    for life in begun:
        life.__exit__()


def starts(engine: FakeEngine) -> int:
    """How often Sentinel has touched anything."""
    return len(engine.called("POST"))


def brought_back(engine: FakeEngine, container: Container) -> bool:
    """Wait for Podman's own policy, which restarts in real time."""
    return engine.wait(lambda: container.running)


def kept_in_every_way(engine: FakeEngine, code: int) -> list[Container]:
    """Services of every restart policy that end with this code if they are asked to."""
    return [add(engine, f"web-{policy}", project=None, policy=policy, term_code=code) for policy in KEEPING]


# ── Stops ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", CODES)
def test_a_stop_is_grey_and_never_undone_whatever_its_code_and_policy(podman: FakeEngine, watch: Begin, code: int) -> None:
    services = kept_in_every_way(podman, code)
    life = watch(podman)
    for service in services:
        podman.stop_by_operator(service)
        life.run(LONG)
    assert life.told() == [f"Stopped {service.name}" for service in services] and starts(podman) == 0
    assert not any(service.running for service in services)


@pytest.mark.parametrize("code", CODES)
def test_a_stop_with_a_label_that_has_it_restarted_is_a_stop(podman: FakeEngine, watch: Begin, code: int) -> None:
    web = add(podman, "web", term_code=code, labels={"sentinel.restart": "true"})
    life = watch(podman)
    podman.stop_by_operator(web)
    life.run(LONG)
    assert life.told() == ["Stopped web"] and starts(podman) == 0


def test_a_stop_of_a_paused_one_is_a_stop(podman: FakeEngine, watch: Begin) -> None:
    web = add(podman, "web", term_code=3)
    life = watch(podman)
    podman.pause(web)
    life.run(20)
    podman.stop_by_operator(web)
    life.run(LONG)
    assert life.told() == ["Stopped web"] and starts(podman) == 0 and not web.running  # as on Docker


def test_a_stop_that_is_waited_for_is_grey_in_the_end(podman: FakeEngine, watch: Begin) -> None:
    """Its state is a word that only Podman has, meanwhile, in the list, too."""
    web = add(podman, "web")
    life = watch(podman)
    with podman.lock:
        web.status, web.stopped_by_user = "stopping", True
    life.run(60)
    assert life.told() == []
    with podman.lock:
        web.status = "running"
    podman.stop_by_operator(web)
    life.run(LONG)
    assert life.told() == ["Stopped web"] and starts(podman) == 0


@pytest.mark.parametrize(("code", "told"), [(3, ["DEAD web", "Recovered web"]), (0, []), (137, []), (143, [])])
def test_a_death_after_which_somebody_starts_it_before_it_is_looked_at_is_told_by_its_code(
    podman: FakeEngine, watch: Begin, code: int, told: list[str]
) -> None:
    """A unit of somebody's own, or a script; a stop and a start in one moment end with a stop's code."""
    web = add(podman, "web")
    life = watch(podman)
    podman.crash(web, code)
    podman.start_by_operator(web)
    life.run(LONG)
    assert life.told() == told and web.running


BY_PODMAN_COMPOSE = {"io.podman.compose.project": "shop"}


@pytest.mark.parametrize("needs", ["db", ""])
def test_who_dies_of_what_podman_compose_stops_first_is_stopped_with_it(
    podman: FakeEngine, watch: Begin, needs: str
) -> None:
    """However long that takes to end: no event tells of its stop before."""
    db = add(podman, "db", labels=BY_PODMAN_COMPOSE)
    web = add(podman, "web", needs=needs, labels=BY_PODMAN_COMPOSE)
    life = watch(podman)
    with podman.lock:
        db.status, db.stopped_by_user = "stopping", True
    podman.crash(web, 1)
    life.run(8)
    with podman.lock:
        db.status = "running"
    podman.stop_by_operator(db)
    life.run(LONG)
    if needs:
        assert sorted(life.told()) == ["Stopped db", "Stopped web"] and starts(podman) == 0
    else:
        assert life.told()[0] == "DEAD web"


def test_who_dies_beside_what_it_needs_is_dead_with_podman_compose_too(podman: FakeEngine, watch: Begin) -> None:
    add(podman, "db", labels=BY_PODMAN_COMPOSE)
    web = add(podman, "web", needs="db", labels=BY_PODMAN_COMPOSE)
    life = watch(podman)
    podman.crash(web, 1)
    life.run(3)
    assert life.told()[0] == "DEAD web"


@pytest.mark.parametrize("code", [0, 3, 137])
def test_a_removal_of_what_runs_is_grey(podman: FakeEngine, watch: Begin, code: int) -> None:
    web, other = add(podman, "web", term_code=code), add(podman, "other")
    life = watch(podman)
    podman.stop_by_operator(web)
    podman.remove(web)
    podman.remove(other)
    life.run(LONG)
    assert sorted(life.told()) == ["Stopped other", "Stopped web"] and starts(podman) == 0


def test_a_stop_after_a_death_keeps_it_down(podman: FakeEngine, watch: Begin) -> None:
    """One that Podman's policy brings back each time, until somebody stops it."""
    web = add(podman, "web", policy="always", term_code=3)
    life = watch(podman)
    podman.crash(web, 3)
    assert brought_back(podman, web)
    life.run(60)
    podman.stop_by_operator(web)
    life.run(LONG)
    assert life.told() == ["DEAD web", "Recovered web", "Stopped web"] and starts(podman) == 0 and not web.running


def test_a_stop_and_a_start_are_over_when_it_dies(podman: FakeEngine, watch: Begin) -> None:
    web = add(podman, "web", term_code=3)
    life = watch(podman)
    podman.stop_by_operator(web)
    life.run(60)
    podman.start_by_operator(web)
    life.run(60)
    podman.crash(web, 143)
    life.run(60)
    assert life.told(Verdict.STOPPED) == ["DEAD web", "Recovered web"] and web.running


# ── Deaths ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [3, 130, 137, 143])
def test_a_death_is_healed_whatever_its_code(podman: FakeEngine, watch: Begin, code: int) -> None:
    web = add(podman, "web")
    life = watch(podman)
    podman.crash(web, code)
    life.run(60)
    assert life.told() == ["DEAD web", "Recovered web"] and web.running and starts(podman) == 1


def test_an_end_with_0_under_no_policy_may_be_a_job(podman: FakeEngine, watch: Begin) -> None:
    web = add(podman, "web")
    life = watch(podman)
    podman.crash(web, 0)
    life.run(LONG)
    assert life.told() == ["DEAD web"] and starts(podman) == 0
    assert "sentinel.job" in life.notices[0].plan


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
@pytest.mark.parametrize("code", [0, 3, 137, 143])
def test_what_podman_keeps_up_it_brings_back(podman: FakeEngine, watch: Begin, code: int, policy: str) -> None:
    web = add(podman, "web", policy=policy)
    life = watch(podman)
    podman.crash(web, code)
    assert brought_back(podman, web)
    life.run(60)
    assert life.told() == ["DEAD web", "Recovered web"] and starts(podman) == 0 and web.restart_count == 1


@pytest.mark.parametrize("code", [0, 3, 137])
def test_what_a_policy_forgets_is_healed(podman: FakeEngine, watch: Begin, code: int) -> None:
    """It ended by itself, and Podman, for whatever reason, does not bring it back."""
    web = add(podman, "web", policy="always")
    life = watch(podman)
    with podman.lock:
        web.exit_on_next = True
    podman.crash(web, code)
    life.run(60)
    assert life.told() == ["DEAD web", "Recovered web"] and starts(podman) == 1


@pytest.mark.parametrize("policy", KEEPING)
def test_a_kill_is_a_death_and_healed(podman: FakeEngine, watch: Begin, policy: str) -> None:
    """Podman takes it for a stop, so its policy leaves it down; its event says otherwise."""
    web = add(podman, "web", policy=policy)
    life = watch(podman)
    podman.kill(web)
    life.run(60)
    assert life.told() == ["DEAD web", "Recovered web"] and web.running and starts(podman) == 1
    assert "podman kill" in str(life.notices[0].cause).replace("docker", "podman")


@pytest.mark.parametrize("policy", ["no", "always"])
def test_a_crash_after_a_kill_that_was_survived_is_a_death(podman: FakeEngine, watch: Begin, policy: str) -> None:
    web = add(podman, "web", policy=policy)
    life = watch(podman)
    podman.kill(web, "HUP")
    life.run(120)
    assert web.running and web.stopped_by_user
    podman.crash(web, 3)
    life.run(60)
    assert life.told() == ["DEAD web", "Recovered web"] and starts(podman) == 1


@pytest.mark.parametrize("code", [0, 137, 143])
def test_after_a_kill_that_was_survived_a_code_that_a_stop_shares_tells_nothing(
    podman: FakeEngine, watch: Begin, code: int
) -> None:
    web = add(podman, "web", policy="always")
    life = watch(podman)
    podman.kill(web, "HUP")
    life.run(120)
    podman.crash(web, code)
    life.run(LONG)
    assert life.told() == ["DEAD web"] and starts(podman) == 0 and not web.running


def test_out_of_memory_is_healed(podman: FakeEngine, watch: Begin) -> None:
    web = add(podman, "web", memory=2**24)
    life = watch(podman)
    podman.oom(web)
    life.run(60)
    assert life.told() == ["DEAD web", "Recovered web"] and life.notices[0].cause.name == "OOM" and starts(podman) == 1


# ── Restarts and deploys ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", CODES)
def test_a_restart_is_silent(podman: FakeEngine, watch: Begin, code: int) -> None:
    services = kept_in_every_way(podman, code)
    life = watch(podman)
    for service in services * 4:
        podman.restart_by_operator(service)
        life.run(10)
    assert life.told() == [] and starts(podman) == 0 and all(service.running for service in services)


@pytest.mark.parametrize("code", [0, 3, 137])
def test_a_restart_that_fails_is_told(podman: FakeEngine, watch: Begin, code: int) -> None:
    web = add(podman, "web", term_code=code)
    podman.on_start(web, error=(500, "crun: executable file `/app` not found: No such file or directory"), times=1)
    life = watch(podman)
    podman.restart_by_operator(web)
    life.run(60)
    assert life.told()[:1] == ["DEAD web"] and web.running


def test_a_quadlet_that_dies_again_and_again_is_one_incident(podman: FakeEngine, watch: Begin) -> None:
    """Each is a new container; systemd makes it."""
    labels = {"PODMAN_SYSTEMD_UNIT": "web.service"}
    make: Callable[[], Container] = lambda: podman.add("systemd-web", labels=labels, auto_remove=True)  # noqa: E731
    life = watch(podman)
    last = make()
    life.run(60)
    for _ in range(4):
        podman.crash(last, 4)
        life.run(2)
        last = make()
        life.run(2)
    life.run(120)
    assert life.told() == ["DEAD systemd-web", "CRASH LOOP systemd-web", "Recovered systemd-web"]
    assert len({notice.incident for notice in life.notices}) == 1 and starts(podman) == 0


# ── Who does not say it ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [0, 3, 130, 137, 143])
def test_an_old_podmans_death_is_told_and_not_restarted(old_podman: FakeEngine, watch: Begin, code: int) -> None:
    web = add(old_podman, "web")
    life = watch(old_podman)
    old_podman.crash(web, code)
    life.run(LONG)
    assert life.told() == ["DEAD web"] and starts(old_podman) == 0 and not web.running


@pytest.mark.parametrize("code", [0, 3, 130, 137, 143])
def test_an_old_podmans_stop_is_never_undone(old_podman: FakeEngine, watch: Begin, code: int) -> None:
    for policy in KEEPING:
        add(old_podman, f"web-{policy}", policy=policy, term_code=code)
    life = watch(old_podman)
    for container in old_podman.containers.values():
        old_podman.stop_by_operator(container)
    life.run(LONG)
    assert starts(old_podman) == 0 and not any(container.running for container in old_podman.containers.values())


def test_an_old_podmans_kill_is_a_death_and_its_restart_silent(old_podman: FakeEngine, watch: Begin) -> None:
    web = add(old_podman, "web", term_code=3)
    life = watch(old_podman)
    old_podman.restart_by_operator(web)
    life.run(60)
    assert life.told() == []
    old_podman.kill(web)
    life.run(60)
    assert life.told() == ["DEAD web", "Recovered web"]


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("code", [0, 3, 137, 143])
def test_a_proxy_that_forbids_libpod_means_caution(podman: FakeEngine, watch: Begin, code: int, status: int) -> None:
    stopped, dead = add(podman, "stopped", term_code=code), add(podman, "dead")
    podman.refuse("/libpod", status)
    life = watch(podman)
    podman.stop_by_operator(stopped)
    podman.crash(dead, code)
    life.run(LONG)
    assert "DEAD dead" in life.told() and starts(podman) == 0
    assert not [line for line in life.lines if "does not answer" in line]


def test_libpod_is_asked_of_podman_alone(podman: FakeEngine, engine: FakeEngine, watch: Begin, tmp_path: Path,
                                         clock: Clock) -> None:  # fmt: skip
    add(podman, "web")
    watch(podman).run(30)
    assert podman.called("GET", "^/v[0-9.]+/libpod/containers/")
    web = add(engine, "web")
    with Life(engine, tmp_path / "docker", clock) as life:
        life.run(5)
        engine.crash(web, 3)
        life.run(60)
    assert life.told() == ["DEAD web", "Recovered web"]
    assert engine.called("GET", "/json") and not engine.called("GET", "libpod")


# ── Its API service ───────────────────────────────────────────────────────────────────────────────────────────


def words(life: Life) -> str:
    """All that was told, as people read it, and the record."""
    cards = [f"{notice.verdict} {notice.name} {notice.plan} {notice.cause}" for notice in life.notices]
    cards += [f"{item.verdict} {item.chain}" for story in life.stories.values() for item in story.consequences]
    return "\n".join([*cards, *life.lines])


def away(engine: FakeEngine, life: Life, seconds: float, meanwhile: Callable[[], object]) -> None:
    """The service is away so long; something happens in the middle."""
    engine.go_down()
    life.run(seconds / 2)
    meanwhile()
    life.run(seconds / 2)
    engine.come_up()
    life.run(LONG)


@pytest.mark.parametrize("seconds", [4.0, 16.0, 120.0])
@pytest.mark.parametrize("code", [0, 3, 137])
def test_what_was_stopped_while_the_service_was_away_stays_down(
    podman: FakeEngine, watch: Begin, seconds: float, code: int
) -> None:
    web, other = add(podman, "web", term_code=code), add(podman, "other", policy="always")
    life = watch(podman)
    away(podman, life, seconds, lambda: podman.stop_by_operator(web))
    assert not web.running and other.running and starts(podman) == 0
    assert "not brought back" not in words(life) and "DEAD" not in words(life)


@pytest.mark.parametrize("seconds", [4.0, 16.0, 120.0])
@pytest.mark.parametrize("code", [3, 137])
def test_what_died_while_the_service_was_away_is_healed(podman: FakeEngine, watch: Begin, seconds: float, code: int) -> None:
    web = add(podman, "web")
    life = watch(podman)
    away(podman, life, seconds, lambda: podman.crash(web, code))
    assert web.running and starts(podman) == 1 and "not brought back" not in words(life)
    assert {"DEAD web", "Recovered web"} <= {*life.told()}


@pytest.mark.parametrize("seconds", [4.0, 16.0, 120.0])
def test_a_kill_while_the_service_was_away_is_a_death(podman: FakeEngine, watch: Begin, seconds: float) -> None:
    web = add(podman, "web", policy="always")
    life = watch(podman)
    away(podman, life, seconds, lambda: podman.kill(web))
    assert web.running and starts(podman) == 1 and "DEAD web" in life.told()


def test_a_restart_while_the_service_was_away_is_silent(podman: FakeEngine, watch: Begin) -> None:
    web = add(podman, "web", term_code=3)
    life = watch(podman)
    away(podman, life, 16.0, lambda: podman.restart_by_operator(web))
    assert not [line for line in life.told() if line.endswith(" web")] and starts(podman) == 0


def test_the_service_itself_is_told_in_its_own_words(podman: FakeEngine, watch: Begin) -> None:
    add(podman, "web")
    life = watch(podman)
    away(podman, life, 120.0, lambda: None)
    down = next(notice for notice in life.notices if notice.verdict is Verdict.ENGINE_DOWN)
    assert headline(down).startswith("Podman's API service on ")
    assert "not brought back" not in words(life) and starts(podman) == 0
    assert [line for line in life.told() if "web" in line] == []


def test_nobody_is_sent_to_docker_when_podmans_service_is_away(podman: FakeEngine, watch: Begin) -> None:
    """Its socket may have any name: in a container it is Docker's."""
    life = watch(podman)
    away(podman, life, 120.0, lambda: None)
    assert "Docker" not in words(life) and "docker" not in words(life).replace(podman.host, "")


def test_a_removal_after_a_kill_that_was_survived_is_grey(podman: FakeEngine, watch: Begin) -> None:
    web = add(podman, "web")
    life = watch(podman)
    podman.kill(web, "HUP")
    life.run(120)
    podman.remove(web)
    life.run(LONG)
    assert life.told() == ["Stopped web"]


@pytest.mark.parametrize("policy", ["no", "always"])
def test_a_stop_and_a_start_in_a_moment_are_silent(podman: FakeEngine, watch: Begin, policy: str) -> None:
    web = add(podman, "web", policy=policy, term_code=3)
    life = watch(podman)
    podman.stop_by_operator(web)
    life.run(0.05)
    podman.start_by_operator(web)
    life.run(LONG)
    assert life.told() == [] and starts(podman) == 0


@pytest.mark.parametrize("policy", ["no", "always"])
@pytest.mark.parametrize("code", CODES)
def test_a_stop_while_sentinel_was_away_is_never_undone(
    podman: FakeEngine, tmp_path: Path, clock: Clock, code: int, policy: str
) -> None:
    web = add(podman, "web", policy=policy, term_code=code)
    with Life(podman, tmp_path, clock, watch="all") as first:
        first.run(10)
    podman.stop_by_operator(web)
    clock.now += 60
    with Life(podman, tmp_path, clock, watch="all") as second:
        second.run(LONG)
    assert (first.told(), second.told()) == ([], ["Stopped web"]) and starts(podman) == 0


@pytest.mark.parametrize("policy", ["no", "always"])
def test_a_restart_by_sentinel_itself_is_nobodys_wish(podman: FakeEngine, watch: Begin, policy: str) -> None:
    web = add(podman, "web", policy=policy, healthcheck=True)
    life = watch(podman)
    podman.health(web, "healthy")
    life.run(10)
    podman.health(web, "unhealthy", "no answer")
    podman.health(web, "unhealthy", "no answer")
    life.run(2)
    podman.health(web, "healthy")
    life.run(60)
    assert life.told() == ["UNHEALTHY web", "Recovered web"]
    assert [call.path.split("?")[0].rpartition("/")[2] for call in podman.called("POST")] == ["restart"]


@pytest.mark.parametrize("code", [0, 3, 137])
def test_an_old_podmans_stop_while_the_service_was_away_stays_down(
    old_podman: FakeEngine, watch: Begin, code: int
) -> None:
    web = add(old_podman, "web", term_code=code)
    life = watch(old_podman)
    away(old_podman, life, 16.0, lambda: old_podman.stop_by_operator(web))
    assert not web.running and starts(old_podman) == 0


# ── What somebody found who tried it ──────────────────────────────────────────────────────────────────────────


def test_a_restart_of_sentinel_forgets_nothing(podman: FakeEngine, watch: Begin) -> None:
    """Podman gives itself another id each time that it is asked."""
    web = add(podman, "web")
    life = watch(podman)
    life.kill()
    podman.crash(web, 137)
    later = watch(podman)
    later.run(60)
    assert later.told() == ["DEAD web", "Recovered web"] and "another engine" not in later.said


@pytest.mark.parametrize("code", [0, 1, 137])
def test_a_stop_of_what_ran_out_of_memory_once_is_a_stop(podman: FakeEngine, watch: Begin, code: int) -> None:
    """Podman keeps that flag through all later runs."""
    web = add(podman, "web", policy="always", memory=2**24, term_code=code)
    life = watch(podman)
    podman.oom(web)
    life.run(60)
    web.oom_killed = True
    podman.stop_by_operator(web)
    life.run(LONG)
    assert life.told()[:2] == ["DEAD web", "Recovered web"] and life.told()[2:] == ["Stopped web"] and not web.running


def test_each_time_that_memory_runs_out_is_called_that(podman: FakeEngine, watch: Begin) -> None:
    web = add(podman, "web", memory=2**24)
    life = watch(podman)
    for _ in range(2):
        web.oom_killed = True
        podman.oom(web)
        life.run(60)
    assert [notice.cause.name for notice in life.notices if notice.verdict is Verdict.DEAD] == ["OOM", "OOM"]


@pytest.mark.parametrize("code", [0, 143])
def test_a_signal_that_is_obeyed_is_a_wish(podman: FakeEngine, watch: Begin, code: int) -> None:
    web = add(podman, "web", policy="always", term_code=code)
    life = watch(podman)
    podman.kill(web, "TERM")
    life.run(LONG)
    assert life.told() == ["Stopped web"] and not web.running and starts(podman) == 0


def test_two_containers_of_one_unit_are_two_services(podman: FakeEngine, watch: Begin) -> None:
    unit = {"PODMAN_SYSTEMD_UNIT": "shop.service"}
    for name in ("systemd-shop", "side"):
        podman.add(name, labels=unit, auto_remove=True, started_ago=3600.0)
    life = watch(podman)
    keys = sorted(life.watchdog.services)
    assert keys == ["shop.service", "shop.service/side"]


def test_what_is_told_late_is_told_with_its_own_time(podman: FakeEngine, watch: Begin) -> None:
    web = add(podman, "web")
    life = watch(podman)
    away(podman, life, 60.0, lambda: podman.crash(web, 3))
    life.run(60)
    green = next(notice for notice in life.notices if notice.verdict is Verdict.RECOVERED and notice.name == "web")
    assert green.downtime and green.downtime > 30


def test_words_on_a_start_of_what_runs_are_no_failed_start(podman: FakeEngine, watch: Begin) -> None:
    web = add(podman, "web")
    web.error = "container 0123456789ab: container is running"
    life = watch(podman)
    life.kill()
    podman.host_kill(web)
    later = watch(podman)
    later.run(60)
    assert later.told() == ["DEAD web", "Recovered web"] and later.notices[0].cause.name == "OUTSIDE"


def test_what_can_not_be_asked_about_for_a_moment_is_asked_again(podman: FakeEngine, watch: Begin) -> None:
    """As in the middle of a removal, or of a restart: that says nothing of who ended it."""
    web = add(podman, "web", term_code=3)
    life = watch(podman)
    podman.answer(f"/libpod/containers/{web.id}/json", 500, {"message": "it is being removed"}, times=2)
    podman.stop_by_operator(web)
    life.run(LONG)
    assert life.told() == ["Stopped web"] and starts(podman) == 0
