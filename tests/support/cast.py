"""The cast of timelines: what several files of tests/core make their worlds of, and ask of them in the end."""

from __future__ import annotations

import pytest

from sentinel import Container, Notice, Phase, Verdict
from support import insides
from support.scenario import World, service

KEPT = ("always", "unless-stopped")
HOUR, DAY = 3600, 86400
BOTH_ENGINES = pytest.mark.parametrize("engine", [20, 28])
JOB = {"sentinel.job": "true"}
ONE = {"max_restarts": 1}
WAITS_FOR_JOB = {"com.docker.compose.depends_on": "db:service_started:false,job:service_completed_successfully:false"}
NEEDS_DB = {"com.docker.compose.depends_on": "db:service_started:false"}


def needs(*parents: str, condition: str = "service_started", restart: bool = False) -> dict[str, str]:
    """Compose's label of what a service depends on."""
    return {"com.docker.compose.depends_on": ",".join(f"{name}:{condition}:{str(restart).lower()}" for name in parents)}


def child(name: str, *parents: str, policy: str = "no", **label: object) -> Container:
    """A service that depends on others."""
    return service(name, policy, labels=needs(*parents, **label))


def lodger(name: str, parent: str = "vpn", **facts: object) -> Container:
    """A service on another one's network."""
    return service(name, network_mode=f"container:{parent}-1", **facts)


def mend(world: World) -> None:
    """Nothing is broken any more."""
    world.broken.clear()
    world.doom.clear()


def reds(world: World) -> list[Notice]:
    """What stands in red, as it reads now; what was folded into another is none."""
    return [notice for notice in world.reds.values() if notice.verdict is not Verdict.FOLDED]


def greens(world: World) -> list[Notice]:
    return [notice for notice in world.notices if notice.verdict is Verdict.RECOVERED]


def chains(notice: Notice) -> list[str]:
    """The consequences, each with its way to the root; a `!` after what is not back."""
    return [" ← ".join(item.chain) + ("" if item.back else " !") for item in notice.consequences]


def last_plan(world: World, number: int = 1) -> str:
    return world.reds[number].plan


def check_peace(world: World) -> None:
    """Nothing is open, nothing is down, and nothing is left over."""
    assert not insides.outages(world.watchdog), insides.outages(world.watchdog)
    for key, watched in world.watchdog.services.items():
        assert watched.incident is None and watched.phase is Phase.UP, f"{key}: {watched.phase}\n{world.story()}"
    assert not any(notice.open for notice in world.reds.values())
    told = {notice.incident for notice in world.notices if notice.open}
    assert {notice.incident for notice in greens(world)} <= told, "a green one without a red one"
