"""`check` as a plugin, as JSON and as a table: with wrong input, from cron, beside the daemon, without an engine."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from support.fake_engine import FakeEngine
from support.system import PROGRAM, Done, add, end, finished, program, until

import sentinel

FIGURES = r" \| services=(\d+);;;0 up=(\d+);;;0 warning=(\d+);;;0 critical=(\d+);;;0"


@pytest.fixture
def engine(engine: FakeEngine) -> FakeEngine:
    """web is up, db is dead, both of shop; blog's web is up, its cache is paused; a bare container is up."""
    add(engine, "web")
    engine.crash(add(engine, "db"), 3)
    add(engine, "blog-web-1", project="blog", service="web")
    engine.pause(add(engine, "cache", project="blog"))
    engine.add("bare", started_ago=60.0)
    return engine


def check(*arguments: str, environment: dict[str, str] | None = None, **settings: str) -> Done:
    return finished([str(PROGRAM), "check", *arguments], {"PATH": os.environ["PATH"], **settings}
                    if environment is None else environment)  # fmt: skip


def nagios(*arguments: str, **settings: str) -> tuple[int, str, tuple[int, ...], list[str]]:
    """Exit code, the words of the first line, its figures, and the long output."""
    code, out, err = check("--nagios", *arguments, **settings)
    assert err == ""
    first, *rest = out.removesuffix("\n").split("\n")
    words, found = first.split(" |")[0], re.search(FIGURES + "$", first)
    assert found, first
    return code, words, tuple(map(int, found.groups())), rest


def test_nagios_reads_the_worst_first(engine: FakeEngine) -> None:
    code, words, figures, rest = nagios(DOCKER_HOST=engine.host)
    assert (code, figures) == (2, (4, 2, 1, 1))
    assert words == "SENTINEL CRITICAL: db DEAD (exit 3), cache PAUSED"
    assert rest[0] == "db: DEAD exit 3" and len(rest) == 4


@pytest.mark.parametrize(("names", "code", "services"), [
    (["shop"], 2, 2), (["blog"], 1, 2), (["web"], 0, 2), (["blog-web-1"], 0, 1), (["cache"], 1, 1), (["shop", "blog"], 2, 4),
    (["blog/web/1"], 0, 1)])
def test_it_looks_at_what_is_wanted_by_name_or_project(
    engine: FakeEngine, names: list[str], code: int, services: int
) -> None:
    seen, _, figures, _ = nagios(*names, DOCKER_HOST=engine.host)
    assert (seen, figures[0]) == (code, services)
    seen, out, _ = check("--json", *names, DOCKER_HOST=engine.host)
    assert (seen, len(json.loads(out))) == (code, services)


@pytest.mark.parametrize("name", ["nobody", "bare", "sho", "", "a b", "*"])
def test_a_name_of_nothing_that_is_watched_is_unknown(engine: FakeEngine, name: str) -> None:
    code, words, _, _ = nagios(name, DOCKER_HOST=engine.host)
    said = {"bare": "bare is not watched: it belongs to no compose project, and SENTINEL_WATCH is `compose`",
            "sho": "no watched service is called sho; did you mean shop?"}  # fmt: skip
    assert code == 3
    assert words == f"SENTINEL UNKNOWN: {said.get(name, f'no watched service is called {name}')}".rstrip()
    assert nagios("web", name, DOCKER_HOST=engine.host)[0] == 3, "a typing error is no good news"
    assert nagios("db", name, DOCKER_HOST=engine.host)[0] == 2, "nor does it hide bad news"


def test_only_the_projects_that_are_watched_are_looked_at(engine: FakeEngine) -> None:
    assert nagios(DOCKER_HOST=engine.host, SENTINEL_PROJECTS="blog")[2][0] == 2
    assert nagios(DOCKER_HOST=engine.host, SENTINEL_WATCH="all")[2][0] == 5
    code, words, _, _ = nagios(DOCKER_HOST=engine.host, SENTINEL_PROJECTS="nothing")
    assert code == 3 and "nothing is watched" in words


def test_an_engine_that_is_away_is_unknown_in_every_form(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/none.sock"
    code, words, figures, rest = nagios(DOCKER_HOST=host)
    assert (code, figures, rest) == (3, (0, 0, 0, 0), []) and "no such socket" in words
    code, out, err = check("--json", DOCKER_HOST=host)
    assert (code, json.loads(out)) == (3, []) and err.startswith("UNKNOWN: ")
    code, out, err = check(DOCKER_HOST=host)
    assert (code, out) == (3, "") and err.startswith("UNKNOWN: ")


@pytest.mark.parametrize("answer", [b"", b"rubbish", b"{}", b"[5, null, {}]", b"[" * 50_000])
def test_an_engine_that_is_none_is_unknown(engine: FakeEngine, answer: bytes) -> None:
    engine.answer("/containers/json", 200, answer, times=None)
    code, words, _, _ = nagios(DOCKER_HOST=engine.host)
    assert code == 3 and words.startswith("SENTINEL UNKNOWN: ")


WRONG = [["--nonsense"], ["--settle"], ["--settle", "soon"], ["--watch", "some"], ["--docker-host", "ssh://box"]]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_input_is_unknown_in_one_clear_line(engine: FakeEngine, arguments: list[str]) -> None:
    code, out, err = check("--nagios", *arguments, DOCKER_HOST=engine.host)
    assert code == 3 and out.startswith("SENTINEL UNKNOWN: ") and out.count("\n") == 1 and arguments[0] in out
    assert err.count("\n") <= 1


def test_wrong_variables_are_unknown_too(engine: FakeEngine) -> None:
    for variable, value in (("SENTINEL_SETTLE", "soon"), ("DISCORD_WEBHOOK_URL", "x"), ("DOCKER_CONTEXT", "none")):
        host = "" if variable == "DOCKER_CONTEXT" else engine.host
        code, out, err = check("--nagios", DOCKER_HOST=host, DOCKER_CONFIG="/nonexistent", **{variable: value})
        assert code == 3 and variable in out + err


def test_cron_has_neither_home_nor_path(engine: FakeEngine) -> None:
    for form in (["--nagios"], ["--json"], []):
        code, out, err = check(*form, "blog", environment={"DOCKER_HOST": engine.host})
        assert (code, err) == (1, "") and "cache" in out
    code, out, _ = check("--nagios", "shop", environment={"DOCKER_HOST": engine.host, "LC_ALL": "POSIX"})
    assert code == 2 and out.startswith("SENTINEL CRITICAL: db")


def test_what_can_not_be_written_in_the_terminals_letters_is_no_crash(engine: FakeEngine) -> None:
    engine.crash(add(engine, "büro", labels={"com.docker.compose.service": "büro–日本"}), 4)
    for form in (["--nagios"], ["--json"], []):
        code, _, _ = check(*form, environment={"DOCKER_HOST": engine.host, "PYTHONIOENCODING": "utf-8"})
        assert code == 2


def snapshot(folder: Path) -> list[tuple[str, int, bytes]]:
    return [(str(path.relative_to(folder)), path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in sorted(folder.rglob("*"))]


def test_it_never_writes(engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    state = tmp_path / "state"
    paths = {"HOME": str(tmp_path / "home"), "SENTINEL_STATE": str(state)}
    for made in (False, True):
        if made:
            state.mkdir()
            ledger = sentinel.Ledger(str(state))
            ledger.open()
            ledger.put("meta", "x", 1, time.time())
            ledger.commit(0.0)
            assert ledger.database
            ledger.database.close()
        before = snapshot(tmp_path)
        for form in (["--nagios"], ["--json"], [], ["nobody"]):
            assert check(*form, DOCKER_HOST=engine.host, **paths)[0] in (2, 3)
        assert snapshot(tmp_path) == before
    assert engine.called("POST") == []


def test_it_runs_beside_the_daemon(engine: FakeEngine, tmp_path: Path) -> None:
    with program(tmp_path, engine.host, SENTINEL_RESTART="false") as daemon:
        until(lambda: "watching db" in (tmp_path / "log").read_text())
        settings = {"DOCKER_HOST": engine.host, "SENTINEL_STATE": str(tmp_path / "state"), "SENTINEL_RESTART": "false"}
        assert nagios(**settings)[::2] == (2, (4, 2, 1, 1))
        assert daemon.poll() is None
        assert end(daemon) == 0


def test_two_hundred_containers_are_all_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEngine() as engine:
        for number in range(200):
            add(engine, f"service-{number:03}", quiet=True)
        began = time.monotonic()
        assert nagios(DOCKER_HOST=engine.host)[::2] == (0, (200, 200, 0, 0))
        took = time.monotonic() - began
        calls = len(engine.calls)
    with capsys.disabled():
        print(f"\ncheck with 200 containers on the fake engine: {took:.2f} s, {calls} calls")
    assert calls <= 210, "one look at each, and no more"
