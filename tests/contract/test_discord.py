"""What goes to Discord: the real Webhook and Outbox against a Discord that refuses and breaks as the real one does.

Courier does what the daemon does with them, on a clock that both sides share: it sends when the outbox says so,
and moves the clock to when it will. So nothing is waited for, and a request inside a wait is seen by the fake.
"""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.fake_discord import FORUM, FakeDiscord
from support.fake_discord import Webhook as Hook

import sentinel
from sentinel import BATCH, FLOOD, Container, Delivered, Log, Notice, Outbox, Verdict, Web, Webhook, message_of, webhook

LINES = tuple(f"line {number}" for number in range(20))


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Courier:
    """One channel: an outbox, its webhook, and the clock of both sides."""

    def __init__(self, fake: FakeDiscord, clock: Clock, url: str) -> None:
        self.fake, self.clock = fake, clock
        self.outbox, self.webhook = Outbox("webhook"), Webhook(webhook(url), Web({}))
        self.log: list[Log] = []
        self.sent: list[float] = []  # when each request began
        self.count = 0

    def add(self, *names: str) -> None:
        """As the daemon does: nothing for a channel that is dead."""
        for name in names if not self.outbox.retired else ():
            self.count += 1
            container = Container(name=name, id="1" * 64, status="exited", exit_code=137)
            self.outbox.waiting.append(Notice(Verdict.DEAD, name, self.clock.now, container, exit_code=137,
                                              incident=self.count, id=self.count, logs=LINES))  # fmt: skip

    def step(self) -> Delivered | None:
        """Send what may be sent now."""
        if not (job := self.outbox.take(self.clock.now, "host", 0.0)):
            return None
        self.sent.append(self.clock.now)
        seen = self.webhook.send(job, message_of(job, self.clock.now, 1.8e9 - 1000.0))
        self.log += self.outbox.settle(seen, self.clock.now)[1]
        return seen

    def run(self, seconds: float) -> None:
        """Let so much time go by."""
        end = self.clock.now + seconds
        while not self.outbox.retired and self.outbox.waiting and self.outbox.next_due_at(self.clock.now) <= end:
            self.clock.now = max(self.clock.now, self.outbox.next_due_at(self.clock.now))
            self.step()
        self.clock.now = end

    def arrived(self) -> list[str]:
        """The names in the messages, in their order, as often as they came."""
        return re.findall(r"\b(\w+) is DEAD", "\n".join(message.text for message in self.fake.messages))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(clock: Clock) -> Iterator[FakeDiscord]:
    """A Discord; whatever is done to it, the client's manners are to be good."""
    with FakeDiscord(clock=clock, wall=lambda: 1.8e9 + clock.now) as discord:
        yield discord
        assert discord.lint == []


@pytest.fixture
def hook(fake: FakeDiscord) -> Hook:
    return fake.add_webhook()


@pytest.fixture
def courier(fake: FakeDiscord, clock: Clock, hook: Hook) -> Courier:
    return Courier(fake, clock, hook.url)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection waits for more than a tenth of a second."""
    made = http.client.HTTPConnection.__init__

    def quick(self: http.client.HTTPConnection, host: str, *rest: Any, **more: Any) -> None:
        made(self, host, *rest, **more | {"timeout": 0.1})

    monkeypatch.setattr(http.client.HTTPConnection, "__init__", quick)


# ── Delivered ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_together_goes_together_and_the_first_waits_for_nobody(courier: Courier) -> None:
    courier.add("web")
    courier.step()
    courier.add("db", "cache")
    courier.step()
    assert courier.arrived() == ["web", "db", "cache"]
    assert [len(message.embeds) for message in courier.fake.messages] == [1, 2]
    assert courier.sent == [1000.0, 1000.0]


@pytest.mark.parametrize("path", [
    "/api/webhooks/{id}/{token}", "/api/v6/webhooks/{id}/{token}", "/api/v9/webhooks/{id}/{token}/",
    "/api/v10/webhooks/{id}/{token}?wait=false", "/api/webhooks/{id}/{token}/slack", "/api/webhooks/{id}/{token}/github",
    "/webhooks/{id}/{token}",
])  # fmt: skip
def test_a_webhook_works_however_it_is_pasted(fake: FakeDiscord, clock: Clock, hook: Hook, path: str) -> None:
    courier = Courier(fake, clock, f"  {fake.url}{path.format(id=hook.id, token=hook.token)}\n")
    courier.add("web")
    courier.step()
    assert courier.arrived() == ["web"]
    assert fake.requests[0].path.startswith("/api/v10/webhooks/") and fake.requests[0].query == {"wait": "true"}


@pytest.mark.parametrize(("host", "asked"), [
    ("discord.com", "discord.com"), ("discordapp.com", "discord.com"), ("ptb.discord.com", "ptb.discord.com"),
    ("canary.discordapp.com", "canary.discord.com"),
])  # fmt: skip
def test_the_old_host_is_never_asked(host: str, asked: str) -> None:
    found = webhook(f"https://{host}/api/webhooks/123/abc-DEF_1")
    assert str.__str__(found) == f"https://{asked}/api/v10/webhooks/123/abc-DEF_1"


def test_a_thread_named_in_the_address_is_written_to(fake: FakeDiscord, clock: Clock) -> None:
    forum = fake.add_channel("alerts", FORUM)
    thread = fake.add_channel("deaths", 11, parent=forum)
    courier = Courier(fake, clock, f"{fake.add_webhook(forum).url}?thread_id={thread.id}")
    courier.add("web")
    courier.step()
    assert [message.channel_id for message in fake.messages] == [thread.id]


# ── Tried again ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after_storing", [False, True])
@pytest.mark.parametrize(("fault", "details"), [
    *(("status", {"status": status}) for status in (500, 502, 503, 504, 520, 522, 524)),
    ("status", {"status": 502, "html": True}), ("reset_after", {}), ("close", {}), ("reset_before", {}),
], ids=str)  # fmt: skip
def test_what_may_not_have_arrived_is_sent_again(
    courier: Courier, fault: str, details: dict[str, Any], after_storing: bool
) -> None:
    """If it was stored for all that, it comes twice with the same incident number: better than never."""
    courier.fake.arm(fault, after_storing=after_storing, times=3, **details)
    courier.add("web")
    courier.step()
    courier.add("db")
    courier.run(60)
    assert list(dict.fromkeys(courier.arrived())) == ["web", "db"]
    waits = [later - sooner for sooner, later in zip(courier.sent, courier.sent[1:], strict=False)]
    assert len(waits) >= 3 and min(waits[:3]) >= 0.5, "not hammered"
    assert sum(waits[:3]) <= 20, "nor forgotten"
    assert [line.level for line in courier.log] == ["warning", "info"], "one word of the trouble, one of its end"
    assert len({message.embeds[0]["footer"]["text"] for message in courier.fake.posts(text="web")}) == 1


def test_an_outage_of_an_hour_loses_nothing_and_is_not_hammered(courier: Courier) -> None:
    courier.fake.arm("status", status=503, window=(0.0, 3600.0))
    for minute in range(60):
        courier.add(f"c{minute}")
        courier.run(60)
    courier.run(120)
    assert courier.arrived() == [f"c{minute}" for minute in range(60)]
    assert len(courier.fake.requests) <= 75
    assert [line.level for line in courier.log] == ["warning", "info"]


def test_a_discord_that_is_not_there_is_waited_for(courier: Courier) -> None:
    courier.fake.refuse()
    courier.add("web")
    courier.run(30)
    assert courier.arrived() == [] and 3 <= len(courier.sent) <= 30
    courier.fake.accept()
    courier.run(61)
    assert courier.arrived() == ["web"]
    assert "could not be reached" in courier.log[0].text


def test_a_host_without_an_address_is_waited_for(
    courier: Courier, monkeypatch: pytest.MonkeyPatch, fake: FakeDiscord
) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "create_connection", nowhere)
        courier.add("web")
        courier.step()
    assert courier.log[0].text.endswith("could not be reached: its name can't be resolved (DNS)")
    courier.run(10)
    assert courier.arrived() == ["web"]


@pytest.mark.parametrize("after_storing", [False, True])
def test_a_discord_that_hangs_is_given_up_and_asked_again(
    courier: Courier, impatient: None, after_storing: bool
) -> None:
    courier.fake.arm("hang", seconds=5.0, after_storing=after_storing)
    courier.add("web")
    assert courier.step() is not None and courier.arrived() in ([], ["web"])
    courier.run(10)
    assert set(courier.arrived()) == {"web"}
    assert "no answer in time" in courier.log[0].text


# ── Answers that are odd, but say yes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("fault", "details"), [
    ("huge", {"after_storing": True}), ("empty_200", {"after_storing": True}), ("cut_json", {}), ("chunked", {}),
    ("gzip", {}), ("wrong_length", {}), ("close_keepalive", {}), ("drip", {"interval": 0.0001}),
], ids=str)  # fmt: skip
def test_a_yes_is_a_yes_however_odd_its_answer(courier: Courier, fault: str, details: dict[str, Any]) -> None:
    courier.fake.arm(fault, **details)
    courier.add("web")
    courier.run(60)
    courier.add("db")
    courier.run(60)
    assert courier.arrived() == ["web", "db"], "and it is not said twice"
    assert courier.log == []


def test_an_answer_cut_by_a_reset_loses_nothing(courier: Courier) -> None:
    courier.fake.arm("reset_halfway")
    courier.add("web")
    courier.run(60)
    assert set(courier.arrived()) == {"web"}


# ── Rate limits ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_burst_stays_within_the_bucket_and_the_hidden_limit(courier: Courier) -> None:
    for number in range(100):
        courier.add(f"c{number}")
        courier.run(0.2)
    courier.run(300)
    assert courier.arrived() == [f"c{number}" for number in range(100)]
    assert {request.status for request in courier.fake.requests} == {200}
    windows = [sum(1 for sent in courier.sent if start <= sent < start + 60) for start in courier.sent]
    assert max(windows) <= 30
    assert courier.sent[2] - courier.sent[0] < 1, "pacing begins when it must"


@pytest.mark.parametrize(("form", "header"), [
    ("float", "whole"), ("float", "absent"), ("int", "whole"), ("str", "absent"), ("absent", "whole"),
    ("absent", "fractional"),
])  # fmt: skip
@pytest.mark.parametrize(("scope", "seconds"), [("user", 1.5), ("shared", 64.57), ("global", 3.0)])
def test_a_wait_that_is_told_is_kept(courier: Courier, scope: str, seconds: float, form: str, header: str) -> None:
    courier.fake.arm("429", retry_after=seconds, scope=scope, form=form, header=header)
    courier.add("web")
    courier.step()
    courier.add("db")
    courier.run(200)
    assert courier.arrived() == ["web", "db"], "the first goes first again, its company with it"
    wait = courier.sent[1] - courier.sent[0]
    assert seconds <= wait <= seconds + 3.0
    assert len(courier.fake.requests) == 2


def test_the_hidden_limit_is_kept_also_when_others_write_into_the_channel(courier: Courier, clock: Clock) -> None:
    """Its wait is told in the body only, the headers say that places are free; once it is too short."""
    other = Courier(courier.fake, clock, courier.fake.add_webhook(next(iter(courier.fake.channels))).url)
    for number in range(24):
        other.add(f"other{number}")
        other.run(1.0)
    courier.fake.hidden_wait_short_once = True
    for number in range(12):
        courier.add(f"c{number}")
        courier.run(1.0)
    courier.run(200)
    names = [name for name in courier.arrived() if name.startswith("c")]
    assert names == [f"c{number}" for number in range(12)]
    limited = [request for request in courier.fake.requests if request.status == 429]
    assert 1 <= len(limited) <= 3


@pytest.mark.parametrize("code", [20028, 40062])
def test_a_limit_with_a_code_is_a_limit(courier: Courier, code: int) -> None:
    courier.fake.arm("429", retry_after=2.0, code=code)
    courier.add("web")
    courier.run(10)
    assert courier.arrived() == ["web"] and courier.outbox.retired == ""


@pytest.mark.parametrize("fault", ["block_html", "block_text", "block_json"])
def test_a_block_at_discords_edge_is_sat_out(courier: Courier, fault: str) -> None:
    courier.fake.arm(fault, times=2)
    courier.add("web")
    courier.run(500)
    assert len(courier.sent) == 1, "asking makes it longer"
    courier.run(7200)
    assert courier.arrived() == ["web"] and not courier.outbox.retired
    assert "edge" in courier.log[0].text


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_headers_are_read_in_any_case(courier: Courier, case: Any) -> None:
    courier.fake.header_case = case
    courier.fake.arm("429", retry_after=5.0, form="absent", header="whole")
    courier.add("web")
    courier.run(60)
    assert courier.arrived() == ["web"] and courier.sent[1] - courier.sent[0] >= 5.0
    for number in range(12):
        courier.add(f"c{number}")
        courier.run(0.05)
    courier.run(60)
    assert {request.status for request in courier.fake.requests if not request.fault} == {200}


@pytest.mark.parametrize("skew", [-600.0, 600.0])
def test_a_clock_that_is_off_changes_no_wait(courier: Courier, skew: float) -> None:
    courier.fake.skew = skew
    for number in range(12):
        courier.add(f"c{number}")
        courier.run(0.1)
    courier.run(30)
    assert courier.arrived() == [f"c{number}" for number in range(12)]
    assert {request.status for request in courier.fake.requests} == {200}


# ── Refused ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_that_is_refused_is_said_plainly_once(courier: Courier) -> None:
    courier.fake.arm("status", status=400)
    courier.add("web", "db")
    courier.run(60)
    assert courier.arrived() == ["web", "db"], "nothing is lost"
    assert len(courier.fake.requests) == 2, "and at once"
    plain, rich = courier.fake.messages[0].payload, courier.fake.requests[0].json
    assert len(str(plain)) < len(str(rich)) and "line 19" not in str(plain)
    courier.add("cache")
    courier.run(60)
    assert "line 19" in courier.fake.messages[-1].text, "the next one is as rich as ever"


def test_a_message_that_is_refused_in_any_form_does_not_stop_the_next(courier: Courier) -> None:
    courier.fake.arm("status", status=400, times=2)
    courier.add("web")
    courier.run(60)
    assert len(courier.fake.requests) == 2 and [line.level for line in courier.log][-1:] == ["error"]
    courier.add("db")
    courier.run(60)
    assert courier.arrived() == ["db"]


@pytest.mark.parametrize("what", ["deleted", "token", "channel"])
def test_a_webhook_that_is_gone_is_called_dead_loudly_and_left_alone(courier: Courier, hook: Hook, what: str) -> None:
    fake = courier.fake
    courier.add("web")
    courier.step()
    {"deleted": fake.delete_webhook, "token": fake.rotate_token,
     "channel": lambda hook: fake.delete_channel(hook.channel_id)}[what](hook)  # fmt: skip
    courier.add("db")
    courier.step()
    courier.add("cache")
    courier.step()
    courier.run(3500)  # each hour it is asked again
    assert courier.outbox.retired
    assert [line.level for line in courier.log] == ["error"]
    assert len(fake.requests) == 2
    assert hook.token not in courier.log[0].text


def test_what_was_waiting_behind_a_dead_letter_is_not_sent(courier: Courier, hook: Hook, clock: Clock) -> None:
    """An alert that came up while the one before was on its way to a webhook that is gone."""
    courier.fake.delete_webhook(hook)
    courier.add("web")
    job = courier.outbox.take(clock.now, "host", 0.0)
    assert job
    courier.add("db")
    courier.outbox.settle(courier.webhook.send(job, message_of(job, clock.now, 0.0)), clock.now)
    assert courier.outbox.retired
    assert courier.outbox.take(clock.now, "host", 0.0) is None


def test_a_forum_gets_one_thread_for_all_alerts(courier: Courier, hook: Hook) -> None:
    courier.fake.make_forum(hook.channel_id)
    courier.add("web")
    courier.run(60)
    courier.add("db")
    courier.run(60)
    assert courier.arrived() == ["web", "db"]
    assert len({message.channel_id for message in courier.fake.messages}) == 1


# ── Within the limits, whatever happens ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [1, 9, 10, 11, BATCH, BATCH + 1, 200])
def test_any_number_of_alerts_arrives_within_discords_limits(courier: Courier, number: int) -> None:
    names = [f"c{index}" for index in range(number)]
    courier.add(*names)
    courier.run(600)
    assert courier.arrived() == names and courier.fake.refused == []
    assert len(courier.fake.messages) <= max(FLOOD, -(-number // BATCH))


@pytest.mark.parametrize("text", [
    "`" * 5000, "```\n@everyone <@&1> <@1>\n```", "\u202egnirts", "🐳" * 5000, "\ud800", "\x00" * 50, "*" * 3000, " ", "",
], ids=lambda text: ascii(text)[:20])  # fmt: skip
def test_no_text_of_a_container_is_refused_or_pings(courier: Courier, text: str) -> None:
    labels = {f"com.docker.compose.{name}": text for name in ("service", "project", "project.config_files")}
    container = Container(name="web", id="1" * 64, status="exited", labels=labels)
    for number in range(12):
        courier.outbox.waiting.append(Notice(Verdict.DEAD, "web", 1000.0, container, exit_code=3, error=text, logs=(text,) * 20,  # noqa: E501
                                  incident=number))  # fmt: skip
        courier.run(10 if number < 2 else 0)
    courier.run(60)
    assert courier.arrived() == ["web"] * 12 and courier.fake.refused == []
    assert {str(message.mentions) for message in courier.fake.messages} == {"([], [], False)"}


def test_a_whole_host_of_compose_services_dying_at_once_is_told(courier: Courier) -> None:
    """Names, commands and logs as long as they really are."""
    names = [f"web_{number}" for number in range(BATCH)]
    for name in names:
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": name,
                  "com.docker.compose.project.config_files": "/srv/compose/shop/compose.yaml"}  # fmt: skip
        container = Container(name=name, id="1" * 64, status="exited", labels=labels)
        courier.outbox.waiting.append(Notice(Verdict.DEAD, name, 1000.0, container, exit_code=137, logs=("x" * 300,)))
    courier.run(60)
    assert courier.arrived() == names and courier.fake.refused == []


def test_the_plain_form_of_anything_is_within_the_limits_too(courier: Courier) -> None:
    courier.fake.arm("status", status=400)
    courier.add(*(f"c{index}" + "🐳`" * 200 for index in range(BATCH)))
    courier.run(60)
    assert len(courier.fake.messages) == 1 and courier.fake.refused == []
    assert len(courier.fake.requests) == 2


def test_the_token_is_in_no_word_of_webhook_or_outbox(courier: Courier, hook: Hook) -> None:
    assert hook.token not in repr(vars(courier.webhook))
    assert hook.token not in f"{webhook(hook.url)} {webhook(hook.url)!r} {courier.webhook.url}"
    assert sentinel.redact(hook.url) == hook.url.replace(hook.token, "***")
