"""What tests read of a watchdog's insides, in one place: all else goes through what it is told and what it says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import sentinel
from sentinel import Container, Network, Notice, Outage, Rule, Timer, Watchdog, Watched


def due(watchdog: Watchdog) -> dict[Timer, float]:
    """All that is due some time."""
    return watchdog.timers._due


def wakes(watchdog: Watchdog) -> dict[Timer, float]:
    """All that is due some time, and waits for nothing but that."""
    return {timer: when for timer, when in due(watchdog).items() if watchdog.timers._wakes(timer)}


def due_of(watchdog: Watchdog, key: str) -> bool:
    """Whether a service's phase waits for a moment."""
    return (Rule.PHASE, key) in due(watchdog)


def set_calendar(watchdog: Watchdog, offset: float) -> None:
    """What turns monotonic moments into calendar time."""
    watchdog.calendar.offset = offset


def calendar_time(watchdog: Watchdog, now: float) -> float:
    """Unix seconds of a moment."""
    return watchdog.calendar.time_of(now)


def quiet(watchdog: Watchdog, windows: tuple[tuple[int, int], ...], now: float) -> bool:
    """Whether a moment is in one of these windows."""
    return sentinel.quiet_until(windows, watchdog.calendar.time_of(now))[0] > 0


def outages(watchdog: Watchdog) -> dict[int, Outage]:
    """What goes on, by number."""
    return watchdog.outages._by_number


def told(watchdog: Watchdog) -> dict[int, Notice]:
    """What stands in red, and how it reads now."""
    return {number: watchdog.outages.story(outage) for number, outage in outages(watchdog).items()
            if outage.standing is sentinel.Standing.TOLD}


def engine_outage(watchdog: Watchdog) -> Outage | None:
    """The engine's own."""
    return watchdog.outages.engine


def looking(watchdog: Watchdog) -> bool:
    """Whether any look is on its way."""
    return watchdog.orders.busy


def needs(watchdog: Watchdog, child: Watched, parent: Watched) -> bool:
    """Whether a service depends on another."""
    return watchdog.services.needs(child, parent)


def network_is_stale(watchdog: Watchdog, child: Watched) -> bool:
    """Whether it runs on without the network that it shares."""
    return watchdog.services.network_of(child) is Network.STALE


def changed(watchdog: Watchdog) -> set[str]:
    """Who is to be saved, once."""
    return watchdog.services.take_changed()


def known_containers(watchdog: Watchdog) -> dict[str, set[str]]:
    """Where containers are remembered."""
    return {"services": set(watchdog.services.containers()), "runs": set(watchdog.lives.runs._runs),
            "ignored": set(watchdog.link.listed.ignored)}


def sizes(watchdog: Watchdog) -> dict[str, int]:
    """How much is remembered of what."""
    services, outages, listed = watchdog.services, watchdog.outages, watchdog.link.listed
    return {"services": len(services), "containers": len(services._keys), "runs": len(watchdog.lives.runs),
            "lodgers": len(services._lodgers), "outages": len(outages), "news": len(outages._news),
            "mutes": len(watchdog.mutes._commanded), "ignored": len(listed.ignored), "looks": len(watchdog.orders._looks),
            "due": len(due(watchdog)), "grown": len(listed.grown), "missed": len(listed.missed),
            "actions": len(watchdog.orders._actions), "parked": len(watchdog.timers._parked)}


def events_remembered(watchdog: Watchdog) -> int:
    """How many of the stream's last events are known."""
    return len(watchdog.link.stream._seen)


def saved(watchdog: Watchdog, service: Watched) -> Any:
    """What the ledger keeps of a service."""
    return sentinel.service_record(service, watchdog.due_of(service), 0.0)


def containers(watchdog: Watchdog) -> Iterator[Container]:
    """The containers of all services."""
    return (service.container for service in watchdog.services.values())


def state_of(container: Container, job: bool = False, asked: bool | None = None) -> sentinel.State:
    """How a container stands at one look; `asked`: the engine's events tell who ended it, None if they tell nothing."""
    labels = {**container.labels, **({"sentinel.job": "true"} if job else {})}
    container = replace(container, labels=labels)
    watchdog = Watchdog(sentinel.Settings(watch="all"))
    if asked is not None:
        ended = container.finished_time or container.started_time + 1.0
        events = [sentinel.Heard("start", container.id, round(container.started_time * 1e9))]
        if asked:
            events.append(sentinel.Heard("kill", container.id, round((ended - 0.1) * 1e9), signal=15))
            events.append(sentinel.Heard("stop", container.id, round(ended * 1e9)))
        events.append(sentinel.Heard("die", container.id, round(ended * 1e9), exit_code=container.exit_code))
        watchdog.lives.runs.take_in(events, 0.0)
    policy, _ = sentinel.policy_of(container, sentinel.Settings(watch="all"), "")
    service = Watched(container.key, container, policy, sentinel.Phase.UP, watchdog.lives.runs.of(container))
    return sentinel.state_of(service, watchdog)


def if_it_died(watchdog: Watchdog, service: Watched, now: float) -> str:
    """What would be done at a service's death, in words."""
    return sentinel.if_it_died(service, watchdog, now)


def notice_record(notice: Notice, offset: float) -> Any:
    """A notice as the ledger keeps it."""
    return sentinel.record_of(sentinel.shown(notice), offset)


def notice_of(document: Any, offset: float) -> Notice:
    """The way back."""
    notice: Notice = sentinel.Reader(offset).value(Notice, document)
    return notice


def outbox_record(outbox: sentinel.Outbox, offset: float) -> Any:
    """An outbox as the ledger keeps it."""
    return sentinel.record_of(outbox.record(), offset)


def fill_outbox(outbox: sentinel.Outbox, document: Any, notices: dict[str, Any], offset: float) -> bool:
    """The way back; false if any of it can't be read any more."""
    known: dict[int, Notice] = {}
    for key, record in notices.items():
        with contextlib.suppress(ValueError, TypeError):
            known[int(key)] = notice_of(record, offset)
    return outbox.restore(sentinel.Reader(offset).value(sentinel.OutboxRecord, document), known)


def incidents_of(documents: dict[str, Any], deliveries: dict[str, Any], outboxes: dict[str, Any]) -> list[Any]:
    """The ledger's notices as incidents."""
    notices: dict[int, Notice] = {}
    for key, document in documents.items():
        with contextlib.suppress(ValueError, TypeError):
            notices[int(key)] = notice_of(document, 0.0)
    return sentinel.incidents_of(notices, deliveries, outboxes)


def introduce(watchdog: Watchdog, **facts: Any) -> None:
    """What is known of the engine."""
    watchdog.link.facts = replace(watchdog.link.facts, **facts)


def streams(watchdog: Watchdog) -> bool:
    """Whether the event stream is open."""
    return watchdog.link.stream.flow is sentinel.Flow.OPEN


def set_settings(watchdog: Watchdog, **changes: Any) -> None:
    """Other settings, for those who come from now on."""
    for part in (watchdog.lives, watchdog.settling, watchdog.roster, watchdog.events, watchdog.outages, watchdog.stories,
                 watchdog.link, watchdog.silences):
        part.settings = replace(part.settings, **changes)


def mutes(watchdog: Watchdog) -> dict[str, float]:
    """Who is muted by command, and until when."""
    return watchdog.mutes._commanded


def numbered(watchdog: Watchdog) -> int:
    """The highest number that was told."""
    return watchdog.outages.numbered
