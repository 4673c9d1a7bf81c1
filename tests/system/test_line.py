"""The warm connection of a channel: it is there before it is needed, and nothing is lost or doubled when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.certificates import server_tls
from support.fake_engine import FakeEngine
from support.far import FarServer, Link
from support.system import add, program, until

import sentinel
from sentinel import Deliver, Fate, Web, Webhook

MESSAGE = {"embeds": []}


@pytest.fixture
def trusted(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    return certificates


def warm(far: FarServer, port: int = 0, **environment: str) -> Callable[[], Fate]:
    """A webhook of that server with a warm connection, which sends one message at each call."""
    channel = Webhook(sentinel.webhook(far.hook_at(port or far.port)), Web(environment))
    sentinel.keep_warm([channel])
    return lambda: channel.send(Deliver(channel.name, (), "box"), MESSAGE).fate


def test_a_connection_is_there_before_it_is_needed_and_serves_all(trusted: Path) -> None:
    with FarServer(server_tls(trusted, clients=False)) as far:
        send = warm(far)
        far.wait(lambda: far.connections == 1)
        assert [send() for _ in range(3)] == [Fate.SENT] * 3
        assert [request.connection for request in far.requests] == [1, 1, 1]


def test_one_that_has_ended_is_renewed_at_once_with_the_session_of_before(trusted: Path) -> None:
    with FarServer(server_tls(trusted, clients=False)) as far:
        send = warm(far)
        far.wait(lambda: far.connections == 1)
        assert send() is Fate.SENT
        far.end_all()
        far.wait(lambda: far.closed == 1)
        assert send() is Fate.SENT
        assert far.connections == 2 and far.resumed == 1 and len(far.requests) == 2


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
def test_nothing_arrives_twice_or_not_at_all_through_two_hundred_ends(trusted: Path, tls: bool) -> None:
    """The far side ends the connection just as something is to be sent: before, after, and in between."""
    with FarServer(server_tls(trusted, clients=False) if tls else None) as far:
        send = warm(far)
        fates = []
        for number in range(200):
            far.end_all()
            if number % 2:
                closed = far.closed
                far.wait(lambda closed=closed: far.closed > closed or not far.alive)
            fates.append(send())
        sent = [fate for fate in fates if fate is Fate.SENT]
        assert len(sent) <= len(far.requests) <= 200
        assert len(sent) >= 100, "what was ended before is no reason for a request to fail"
        assert {*fates} <= {Fate.SENT, Fate.UNCLEAR}


def test_a_request_leaves_in_one_piece(trusted: Path) -> None:
    with FarServer(server_tls(trusted, clients=False)) as far:
        send = warm(far)
        assert send() is Fate.SENT
        assert [request.pieces for request in far.requests] == [1]


def test_a_server_that_ends_every_connection_is_not_asked_for_new_ones_all_the_time() -> None:
    with FarServer(last=True) as far:
        send = warm(far)
        assert [send() for _ in range(5)] == [Fate.SENT] * 5
        assert far.connections <= 12


def test_what_is_asked_while_the_connection_is_made_waits_for_it_and_makes_no_other(trusted: Path) -> None:
    with FarServer(server_tls(trusted, clients=False)) as far, Link(far.port, 0.1) as link:
        send = warm(far, link.port)
        assert send() is Fate.SENT
        assert link.opened == 1 and [request.connection for request in far.requests] == [1]


def test_who_cant_be_reached_is_said_to_be_so_at_once() -> None:
    with FarServer() as gone:
        pass
    assert warm(gone)() is Fate.UNSENT


@pytest.fixture
def far(certificates: Path) -> Iterator[FarServer]:
    with FarServer(server_tls(certificates, clients=False)) as server:
        yield server


def test_the_first_alert_goes_over_the_connection_that_was_there(
    engine: FakeEngine, far: FarServer, certificates: Path, tmp_path: Path
) -> None:
    web = add(engine, "web")
    settings = {"DISCORD_WEBHOOK_URL": far.hook, "SSL_CERT_FILE": str(certificates / "ca.pem")}
    with program(tmp_path, engine.host, **settings):
        until(lambda: "watching web" in (tmp_path / "log").read_text())
        far.wait(lambda: far.connections == 1)
        began = time.monotonic()
        engine.crash(web, 3)
        far.wait(lambda: any(b"web is DEAD" in request.body for request in far.requests))
        assert far.connections == 1 and far.requests[-1].at > began
