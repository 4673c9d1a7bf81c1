"""A session with Discord's gateway, on timelines: payloads and times in, payloads and closes out."""

from __future__ import annotations

import random
from typing import Any

import pytest

import sentinel
from sentinel import Arrived, HangUp, Payload, Secret, Session, Stage

HELLO = {"op": 10, "d": {"heartbeat_interval": 40_000}, "s": None, "t": None}
READY = {"op": 0, "t": "READY", "s": 1, "d": {"session_id": "abc", "resume_gateway_url": "wss://resume.example"}}
RESUMED = {"op": 0, "t": "RESUMED", "s": 9, "d": {}}


def session(chance: float = 0.5) -> Session:
    return Session(Secret("token"), lambda: chance)


def sent(effects: list[Any]) -> list[tuple[int, Any]]:
    return [(each.document["op"], each.document["d"]) for each in effects if isinstance(each, Payload)]


def here(now: float = 0.0, chance: float = 0.5) -> Session:
    """A session that is well."""
    made = session(chance)
    assert made.wants_connection(now)
    made.opened(now)
    ((op, about),) = sent(made.received(HELLO, now))
    assert op == 2 and about["token"] == "token" and about["intents"] == 0 and about["compress"] is False
    made.received(READY, now)
    assert made.stage is Stage.HERE
    return made


def left(effects: list[Any]) -> bool:
    return effects == [HangUp(sentinel.RESUMABLE)]


def again(made: Session, now: float) -> list[tuple[int, Any]]:
    """A new connection, up to the answer to HELLO."""
    assert made.wants_connection(now), made.next_at()
    made.opened(now)
    return sent(made.received(HELLO, now))


def test_beats_begin_at_a_random_moment_and_carry_the_last_number() -> None:
    made = here(chance=0.25)
    assert made.next_at() == 10.0 and not made.tick(9.9)
    assert sent(made.tick(10.0)) == [(1, 1)]
    made.received({"op": 11}, 10.1)
    made.received({"op": 0, "t": "WHATEVER", "s": 7, "d": None}, 11.0)
    made.received({"op": 0, "t": "WHATEVER", "s": None, "d": None}, 12.0)
    assert made.next_at() == 50.0
    assert sent(made.tick(50.0)) == [(1, 7)]


def test_a_number_of_zero_is_one() -> None:
    made = session()
    made.opened(0.0)
    made.received(HELLO, 0.0)
    made.received({**READY, "s": 0}, 0.0)
    made.ended(None, "reset", 1.0)
    assert again(made, 1.0) == [(6, {"token": "token", "session_id": "abc", "seq": 0})]


def test_a_beat_that_is_not_answered_ends_the_connection_whatever_else_comes() -> None:
    made = here()
    made.tick(20.0)
    for second in range(21, 60):
        made.received({"op": 0, "t": "TYPING_START", "s": second, "d": {}}, float(second))
    assert left(made.tick(60.0))
    made.ended(None, made.why, 60.0)
    assert again(made, 60.0) == [(6, {"token": "token", "session_id": "abc", "seq": 59})]


def test_the_gateway_may_ask_for_a_beat_but_not_for_more_than_are_allowed() -> None:
    made = here()
    assert sent(made.received({"op": 1, "d": None}, 1.0)) == [(1, 1)]
    asked = sum(len(made.received({"op": 1, "d": None}, 1.0 + n / 100)) for n in range(1000))
    assert asked == sentinel.BEATS_A_MINUTE - 1
    assert made.next_at() > 11.0, "and nothing spins"


@pytest.mark.parametrize("payload", [{"op": 7, "d": None}, {"op": 9, "d": True}], ids=["reconnect", "invalid, resumable"])
def test_it_comes_back_with_the_same_session(payload: Any) -> None:
    made = here()
    assert left(made.received(payload, 100.0))
    made.ended(None, made.why, 100.0)
    assert made.resume_url == "wss://resume.example"
    ((op, _),) = again(made, 100.0)
    assert op == 6
    made.received(RESUMED, 100.5)
    assert made.stage is Stage.HERE


def test_a_session_that_is_not_known_any_more_is_begun_anew_after_a_while() -> None:
    made = here()
    assert left(made.received({"op": 9, "d": False}, 100.0))
    made.ended(None, made.why, 100.0)
    assert made.next_at() == 103.0 and made.resume_url == "", "one to five seconds, by chance"
    ((op, _),) = again(made, 103.0)
    assert op == 2


@pytest.mark.parametrize("code", sentinel.REFUSALS)
def test_after_these_codes_there_is_no_use_in_trying(code: int) -> None:
    made = here()
    made.ended(code, "", 5.0)
    assert made.stage is Stage.REFUSED and made.why and made.next_at() == float("inf")


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006, 1011, 4000, 4001, 4002, 4006, 4008, 4015, 4999])
def test_after_most_codes_the_session_goes_on(code: int | None) -> None:
    made = here()
    made.ended(code, "", 100.0)
    ((op, _),) = again(made, 100.0)
    assert op == 6


@pytest.mark.parametrize("code", sentinel.FORGETTING)
def test_after_some_codes_it_begins_anew(code: int) -> None:
    made = here()
    made.ended(code, "", 100.0)
    ((op, _),) = again(made, 100.0)
    assert op == 2


def test_a_flood_of_closes_is_met_with_few_identifies_and_ends_within_the_promised_time() -> None:
    made, now, identified = session(1.0), 0.0, []
    while now < 300.0:
        now = max(now, made.next_at())
        if made.wants_connection(now):
            made.opened(now)
            if any(op == 2 for op, _ in sent(made.received(HELLO, now))):
                identified.append(now)
            made.received(READY, now)
            made.ended(4009, "", now)  # a code that makes it begin anew
    for start in identified:
        assert sum(start <= each < start + 60 for each in identified) <= 10, identified
    assert made.next_at() - now <= 60.0
    assert made.failures > 5


def test_identify_waits_for_its_moment_on_an_open_connection() -> None:
    made = here()
    made.ended(4007, "", 1.0)
    made.opened(1.0)
    assert made.received(HELLO, 1.0) == [] and made.next_at() == sentinel.IDENTIFY_EVERY
    assert [op for op, _ in sent(made.tick(sentinel.IDENTIFY_EVERY))] == [2]


def test_identifies_of_a_day_are_counted() -> None:
    made, now, identified = session(0.0), 0.0, []
    while now < 2 * sentinel.DAY_SECONDS:
        now = max(now, made.next_at())
        effects = made.tick(now)
        if made.wants_connection(now):
            made.opened(now)
            effects = made.received(HELLO, now)
        if any(op == 2 for op, _ in sent(effects)):
            identified.append(now)
            made.received(READY, now)
            made.ended(4009, "", now + 40.0)
            now += 40.0
        elif left(effects):
            made.ended(None, "", now)
    for start in identified:
        assert sum(start <= each < start + sentinel.DAY_SECONDS for each in identified) <= sentinel.IDENTIFIES_A_DAY
    assert len(identified) > sentinel.IDENTIFIES_A_DAY


def test_no_hello_and_no_ready_end_the_connection() -> None:
    made = session()
    made.opened(0.0)
    assert not made.tick(19.9) and left(made.tick(20.0)) and "HELLO" in made.why
    made.ended(None, made.why, 20.0)
    made.opened(20.0)
    made.received(HELLO, 20.0)
    made.received({"op": 11}, 20.0)
    due = 20.0
    while not left(effects := made.tick(due)):
        assert [op for op, _ in sent(effects)] in ([], [1])
        made.received({"op": 11}, due)
        due = made.next_at()
    assert due == 80.0 and "READY" in made.why


def test_the_pauses_grow_and_a_session_that_holds_ends_that() -> None:
    made, now, pauses = session(1.0), 0.0, []
    for _ in range(9):
        made.ended(None, "refused", now)
        pauses.append(made.next_at() - now)
        now = made.next_at()
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 50.0, 50.0]
    made.opened(now)
    made.received(HELLO, now)
    made.received(READY, now)
    made.ended(None, "reset", now + 29.0)
    assert made.next_at() == now + 79.0, "it has not held"
    made.opened(now + 79.0)
    made.received(HELLO, now + 79.0)
    made.received(RESUMED, now + 79.0)
    made.ended(None, "reset", now + 120.0)
    assert made.next_at() == now + 120.0


def test_presence_is_shown_with_identify_and_then_at_most_once_in_four_seconds() -> None:
    made = session()
    made.showing.want({"status": "online"})
    made.opened(0.0)
    ((_, about),) = sent(made.received(HELLO, 0.0))
    assert about["presence"] == {"status": "online"}
    made.received(READY, 0.0)
    made.showing.want({"status": "dnd"})
    assert made.next_at() == 4.0 and not made.tick(3.9)
    assert sent(made.tick(4.0)) == [(3, {"status": "dnd"})]
    made.showing.want({"status": "idle"})
    made.showing.want({"status": "dnd"})
    assert not made.tick(9.0), "that is what is seen already"


def test_interactions_are_handed_on() -> None:
    made = here()
    assert made.received({"op": 0, "t": "INTERACTION_CREATE", "s": 2, "d": {"id": "5"}}, 1.0) == [Arrived({"id": "5"})]


def test_nonsense_is_nothing() -> None:
    dice = random.Random(1)
    values = [None, True, 0, -1, 2**70, 1.5, "x", [], {}, {"session_id": 5}, "READY", "RESUMED"]
    made = here()
    for number in range(5000):
        payload = {key: dice.choice(values) for key in ("op", "d", "s", "t") if dice.random() < 0.8}
        if payload.get("op") is True or payload.get("op") not in (1, 7, 9, 10):
            made.received(payload, number / 1000)
    for payload in (None, [], "x", 5, {}, {"op": "10"}, {"op": None}, {"op": 99}):
        assert made.received(payload, 6.0) == []
    assert made.stage is Stage.HERE
