"""Every way to an engine: TLS with certificates, the docker CLI's contexts, proxies that refuse, and Podman's ways."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import server_tls
from support.clocked import Clocked
from support.fake_engine import EngineServer, FakeEngine
from support.system import add, command, end, program, until

import sentinel
from sentinel import EngineError, SettingError, Settings, Verdict


class Front:
    """TCP in front of a fake engine's socket: with TLS if it has a context, and a proxy if it `denies` something.

    It looks like an engine to Clocked: its host, and the rest of the engine behind it.
    """

    def __init__(self, engine: EngineServer, tls: ssl.SSLContext | None = None,
                 denies: Callable[[str, str], int] = lambda method, path: 0) -> None:  # fmt: skip
        self.engine, self.tls, self.denies = engine, tls, denies
        self.denied: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.host = f"tcp://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            plain.settimeout(20)
            client = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := client.recv(65536)):
                    return
                head += more
                if not self.tls and head.startswith(b"\x16"):  # what a server in Go says to a TLS handshake
                    return client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request.\n")
            method, target, _ = head.split(b" ", 2)
            if status := self.denies(method.decode(), target.decode()):
                self.denied.append(f"{method.decode()} {target.decode()}")
                page = b"<html><body><h1>Not allowed</h1>Request forbidden.</body></html>"
                client.sendall(b"HTTP/1.1 %d No\r\nContent-Type: text/html\r\nContent-Length: %d\r\n"
                               b"Connection: close\r\n\r\n%s" % (status, len(page), page))  # fmt: skip
            else:
                self._forward(client, head)
            if self.tls:
                client.close()

    def _forward(self, client: socket.socket, head: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as behind:
            behind.connect(self.engine.path)
            behind.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            gone = threading.Thread(target=self._wait_gone, args=(client, behind), daemon=True)
            if b" /events" in head[:200]:
                gone.start()
            while data := behind.recv(65536):
                client.sendall(data)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _wait_gone(client: socket.socket, behind: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client.settimeout(None)
            client.recv(1)
            behind.shutdown(socket.SHUT_RDWR)


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────


def tls_settings(certificates: Path, folder: str, verify: bool = True) -> dict[str, str]:
    return {"DOCKER_CERT_PATH": str(certificates / folder), **({"DOCKER_TLS_VERIFY": "1"} if verify else {})}


def test_an_engine_behind_tls_is_asked_with_the_clients_certificate(engine: FakeEngine, certificates: Path) -> None:
    add(engine, "web")
    with Front(engine, server_tls(certificates)) as front:
        code, out, err = command("check", DOCKER_HOST=front.host, **tls_settings(certificates, "client"))
        assert (code, err) == (0, "") and re.search(r"^web +UP", out, re.M)


def test_events_come_through_tls_and_a_restart_goes(engine: FakeEngine, certificates: Path, tmp_path: Path) -> None:
    web = add(engine, "web")
    with Front(engine, server_tls(certificates)) as front, program(
            tmp_path, front.host, **tls_settings(certificates, "client")) as process:  # fmt: skip
        until(lambda: "watching web" in (tmp_path / "log").read_text())
        assert engine.wait_streams()
        engine.crash(web, 3)
        until(lambda: "web is DEAD" in (tmp_path / "log").read_text() and web.running)
        assert end(process) == 0


@pytest.mark.parametrize(("folder", "server", "says"), [
    ("stranger", "server", "CERTIFICATE_VERIFY_FAILED|certificate verify failed"),
    ("nobody", "server", "TLS|certificate"), ("client", "elsewhere", "TLS failed|mismatch")])
def test_a_certificate_that_does_not_fit_is_said(
    engine: FakeEngine, certificates: Path, folder: str, server: str, says: str
) -> None:
    with Front(engine, server_tls(certificates, server)) as front:
        code, _, err = command("check", DOCKER_HOST=front.host, **tls_settings(certificates, folder))
    assert code == 3 and re.search(says, err) and "DOCKER_CERT_PATH" in err, err
    assert engine.calls == []


def test_certificates_alone_mean_tls_that_is_not_verified(engine: FakeEngine, certificates: Path) -> None:
    """As the docker CLI's library has it: any server will do, and it sees the client's certificate."""
    add(engine, "web")
    for server in ("server", "elsewhere"):
        with Front(engine, server_tls(certificates, server)) as front:
            code, _, err = command("check", DOCKER_HOST=front.host, **tls_settings(certificates, "client", verify=False))
            assert (code, err) == (0, "")


def test_without_tls_an_engine_that_wants_it_is_told_from_one_that_is_away(engine: FakeEngine, certificates: Path) -> None:
    with Front(engine, server_tls(certificates, clients=False)) as front:
        code, _, err = command("check", DOCKER_HOST=front.host)
    assert code == 3 and front.host in err


def test_with_tls_an_engine_that_has_none_is_told(engine: FakeEngine, certificates: Path) -> None:
    with Front(engine) as front:
        code, _, err = command("check", DOCKER_HOST=front.host, **tls_settings(certificates, "client"))
    assert code == 3 and "TLS" in err


BAD = {"no folder": [], "no authority": ["cert.pem", "key.pem"], "no key": ["ca.pem", "cert.pem"],
       "no certificate": ["ca.pem", "key.pem"]}  # fmt: skip


@pytest.mark.parametrize("what", [*BAD, "rubbish", "the key of another", "a folder"])
def test_files_that_can_not_be_used_end_it_with_78_and_the_variables_name(
    certificates: Path, tmp_path: Path, what: str
) -> None:
    folder = tmp_path / "certs"
    if what != "no folder":
        shutil.copytree(certificates / "client", folder)
        for name in {"ca.pem", "cert.pem", "key.pem"} - set(BAD.get(what, ["ca.pem", "cert.pem", "key.pem"])):
            (folder / name).unlink()
    if what == "rubbish":
        (folder / "ca.pem").write_text("rubbish")
    if what == "the key of another":
        shutil.copy(certificates / "server-key.pem", folder / "key.pem")
    if what == "a folder":
        (folder / "ca.pem").unlink()
        (folder / "ca.pem").mkdir()
    settings = {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)}
    code, out, err = command("watch", **settings, SENTINEL_STATE=str(tmp_path / "state"))
    assert (code, out) == (78, "")
    assert err.startswith(f"DOCKER_CERT_PATH: the certificates in {folder} can't be used: ") and err.count("\n") == 1
    assert command("check", **settings)[0] == 3


def test_a_unix_socket_needs_no_certificates(engine: FakeEngine, tmp_path: Path) -> None:
    add(engine, "web")
    settings = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path / "none")}
    assert command("check", DOCKER_HOST=engine.host, **settings)[0] == 0


def test_the_folder_of_certificates_is_the_clis_unless_it_is_set(
    engine: FakeEngine, certificates: Path, tmp_path: Path
) -> None:
    add(engine, "web")
    shutil.copytree(certificates / "client", tmp_path / ".docker")
    with Front(engine, server_tls(certificates)) as front:
        assert command("check", DOCKER_HOST=front.host, DOCKER_TLS_VERIFY="1", HOME=str(tmp_path))[0] == 0
        assert command("check", DOCKER_HOST=front.host, DOCKER_TLS_VERIFY="1",
                       DOCKER_CONFIG=str(tmp_path / ".docker"))[0] == 0  # fmt: skip


def test_no_certificate_is_in_what_is_said(certificates: Path) -> None:
    settings = Settings(docker_host="tcp://127.0.0.1:1", cert_path=str(certificates / "client"))
    said = "\n".join(sentinel.settings_lines(settings))
    assert "PRIVATE KEY" not in said and str(certificates / "client") in said


# ── Contexts of the docker CLI ────────────────────────────────────────────────────────────────────────────────


def make_context(config: Path, name: str, host: str | None = None, certificates: Path | None = None,
                 meta: Any = None, **facts: Any) -> Path:  # fmt: skip
    """A context as `docker context create` writes it; its folder of TLS files."""
    place = hashlib.sha256(name.encode()).hexdigest()
    folder = config / "contexts" / "meta" / place
    folder.mkdir(parents=True, exist_ok=True)
    endpoint = {"SkipTLSVerify": False, **facts} | ({"Host": host} if host is not None else {})
    document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}} if meta is None else meta
    (folder / "meta.json").write_text(document if isinstance(document, str) else json.dumps(document))
    tls = config / "contexts" / "tls" / place / "docker"
    if certificates:
        shutil.copytree(certificates, tls)
    return tls


def engine_of(config: Path, **environment: str) -> sentinel.Engine:
    """The engine that these variables and this configuration mean."""
    settings, _ = sentinel.load_settings({}, environment, str)
    return sentinel.engine_of(settings, {"DOCKER_CONFIG": str(config), **environment})


def test_the_current_context_is_used_unless_something_else_is_said(tmp_path: Path) -> None:
    for name in ("far", "near"):
        make_context(tmp_path, name, f"unix:///run/{name}.sock")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {}, "currentContext": "far"}))
    assert engine_of(tmp_path).host == "unix:///run/far.sock"
    assert engine_of(tmp_path, DOCKER_CONTEXT="near").host == "unix:///run/near.sock"
    assert engine_of(tmp_path, DOCKER_HOST="unix:///x.sock").host == "unix:///x.sock"
    assert engine_of(tmp_path, DOCKER_HOST="unix:///x.sock", DOCKER_CONTEXT="near").host == "unix:///x.sock"
    assert engine_of(tmp_path, DOCKER_CONTEXT="default").host == sentinel.default_docker_host({})


def test_the_configuration_is_the_homes_unless_it_is_set(tmp_path: Path) -> None:
    make_context(tmp_path / ".docker", "far", "unix:///run/far.sock")
    settings = Settings(context="far")
    assert sentinel.engine_of(settings, {"HOME": str(tmp_path)}).host == "unix:///run/far.sock"


@pytest.mark.parametrize("text", ["{", "[]", "5", "null", '{"currentContext": 5}', '{"currentContext": ""}', "",
                                  "[" * 100_000, "\x00"])
def test_a_configuration_that_makes_no_sense_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert engine_of(tmp_path).host == sentinel.default_docker_host({})


def test_a_context_that_is_not_there_is_said_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "gone"}))
    for environment in ({}, {"DOCKER_CONTEXT": "gone"}):
        code, out, err = command("watch", DOCKER_CONFIG=str(tmp_path), SENTINEL_STATE=str(tmp_path / "s"), **environment)
        assert (code, out) == (78, "") and err.startswith("DOCKER_CONTEXT: there is no context gone")
        assert command("check", DOCKER_CONFIG=str(tmp_path), **environment)[0] == 3


@pytest.mark.parametrize(("meta", "says"), [
    ("{", "can't be used"), ("[" * 100_000, "can't be used"), (None, "ssh:// is not supported.*unix:///tmp/docker.sock"),
    ({"Endpoints": {"docker": {"Host": "npipe:////./pipe/docker"}}}, "no engine address")])
def test_a_context_that_can_not_be_used_says_why(tmp_path: Path, meta: Any, says: str) -> None:
    make_context(tmp_path, "far", "ssh://me@box", meta=meta)
    with pytest.raises(SettingError, match=rf"^DOCKER_CONTEXT: .*far.*{says}"):
        engine_of(tmp_path, DOCKER_CONTEXT="far")
    assert command("check", DOCKER_CONTEXT="far", DOCKER_CONFIG=str(tmp_path))[0] == 3
    code, _, err = command("explain", DOCKER_CONTEXT="far", DOCKER_CONFIG=str(tmp_path))
    assert code == 78 and err.count("\n") == 1


@pytest.mark.parametrize("meta", [{}, [], {"Endpoints": {"docker": {}}}, {"Endpoints": {"docker": {"Host": ""}}},
                                  {"Endpoints": {"kubernetes": {"Host": "https://x"}}}])
def test_a_context_without_a_host_is_refused_or_the_default(tmp_path: Path, meta: Any) -> None:
    make_context(tmp_path, "far", meta=meta)
    try:
        assert engine_of(tmp_path, DOCKER_CONTEXT="far").host == sentinel.default_docker_host({})
    except SettingError as error:
        assert str(error).startswith("DOCKER_CONTEXT: ")


@pytest.mark.parametrize("name", ["../../etc", "a/b", "ü", "x" * 5000, "far\n"])
def test_a_contexts_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match=r"^DOCKER_CONTEXT: there is no context"):
        sentinel.engine_of(Settings(context=name), {"DOCKER_CONFIG": str(tmp_path)})


def test_a_contexts_certificates_are_used_and_verified_unless_it_says_otherwise(
    engine: FakeEngine, certificates: Path, tmp_path: Path
) -> None:
    add(engine, "web")
    with Front(engine, server_tls(certificates)) as front, Front(engine, server_tls(certificates, "elsewhere")) as wrong:
        make_context(tmp_path, "good", front.host, certificates / "client")
        make_context(tmp_path, "bad", wrong.host, certificates / "client")
        make_context(tmp_path, "lax", wrong.host, certificates / "client", SkipTLSVerify=True)
        assert len(engine_of(tmp_path, DOCKER_CONTEXT="good").list()) == 1
        assert len(engine_of(tmp_path, DOCKER_CONTEXT="lax").list()) == 1
        with pytest.raises(EngineError, match="TLS"):
            engine_of(tmp_path, DOCKER_CONTEXT="bad").list()


def test_a_context_that_skips_verification_needs_no_files(engine: FakeEngine, certificates: Path, tmp_path: Path) -> None:
    with Front(engine, server_tls(certificates, clients=False)) as front:
        make_context(tmp_path, "lax", front.host, SkipTLSVerify=True)
        assert engine_of(tmp_path, DOCKER_CONTEXT="lax").list() == []


def test_a_context_without_an_authority_trusts_the_systems(certificates: Path, tmp_path: Path) -> None:
    tls = make_context(tmp_path, "public", "tcp://127.0.0.1:1", certificates / "client")
    (tls / "ca.pem").unlink()
    made = engine_of(tmp_path, DOCKER_CONTEXT="public")
    assert made.tls and made.tls.verify_mode is ssl.CERT_REQUIRED


def test_the_rootless_socket_is_used_where_it_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinel, "ROOTFUL_SOCKET", str(tmp_path / "rootful.sock"))
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    assert sentinel.engine_of(Settings(), environment).host == f"unix://{tmp_path}/rootful.sock"
    with FakeEngine(tmp_path / "docker.sock") as rootless:
        add(rootless, "web")
        made = sentinel.engine_of(Settings(), environment)
        assert made.host == rootless.host and len(made.list()) == 1
    (tmp_path / "docker.sock").touch()
    (tmp_path / "rootful.sock").touch()
    assert sentinel.engine_of(Settings(), environment).host == f"unix://{tmp_path}/rootful.sock"


# ── Proxies that refuse ───────────────────────────────────────────────────────────────────────────────────────


def no_posts(status: int) -> Callable[[str, str], int]:
    return lambda method, path: status if method != "GET" else 0


def nothing_of(word: str, status: int = 403) -> Callable[[str, str], int]:
    return lambda method, path: status if path.startswith(word) else 0


@pytest.mark.parametrize(("status", "cut"), [(403, 0.0), (405, 0.0), (403, 3.0)])
def test_a_proxy_that_refuses_to_write_means_tell_only_from_the_start_and_after_a_cut(
    engine: FakeEngine, status: int, cut: float
) -> None:
    web = add(engine, "web")
    with Front(engine, denies=no_posts(status)) as front, Clocked(front) as watch:  # type: ignore[arg-type]
        watch.engine.heals = True
        watch.run(5)
        if cut:
            engine.cut_streams()
            watch.run(cut)
        engine.crash(web, 3)
        watch.run(600)
        assert watch.told() == ["DEAD web"]
        (notice,) = watch.notices
        words = json.dumps(sentinel.message_of(sentinel.Deliver("", (notice,), "box", "1"), notice.at, 0.0))
        assert "attempt" not in words and "Restarting" not in words and "forbid" in words, words
        assert notice.attempts == 0
    assert [call for call in front.denied if web.id in call] == [], "no restart is tried"
    assert engine.called("POST") == []


@pytest.mark.parametrize("status", [403, 405])
def test_tell_only_is_said_in_the_greeting(engine: FakeEngine, tmp_path: Path, status: int) -> None:
    add(engine, "web")
    with Front(engine, denies=no_posts(status)) as front, program(tmp_path, front.host):
        until(lambda: "Degraded: tell only: the proxy forbids it" in (tmp_path / "log").read_text())


@pytest.mark.xfail(strict=True, reason="a proxy on a unix socket is not asked: the first death promises an attempt in vain")
def test_a_proxy_on_a_unix_socket_means_tell_only_too(engine: FakeEngine) -> None:
    web = add(engine, "web")
    engine.refuse("/start", method="POST")
    with Clocked(engine) as watch:
        watch.run(5)
        engine.crash(web, 3)
        watch.run(1)
        assert "attempt" not in watch.notices[0].plan


def test_a_proxy_that_lets_all_through_is_no_reason_to_tell_only(engine: FakeEngine) -> None:
    web = add(engine, "web")
    with Front(engine) as front, Clocked(front) as watch:  # type: ignore[arg-type]
        watch.run(5)
        engine.crash(web, 3)
        watch.run(60)
        assert watch.told() == ["DEAD web", "Recovered web"]


@pytest.mark.parametrize("status", [403, 405])
def test_a_proxy_that_refuses_events_means_listing(engine: FakeEngine, status: int) -> None:
    web = add(engine, "web")
    denied = nothing_of("/events", status)
    with Front(engine, denies=denied) as front, Clocked(front, poll_interval=10.0) as watch:  # type: ignore[arg-type]
        watch.run(5)
        engine.crash(web, 3)
        watch.run(60)
        assert watch.told() == ["DEAD web", "Recovered web"]
        assert sum("events are refused" in line.text for line in watch.log) == 1
        assert not [line for line in watch.log if "does not answer" in line.text]


def test_a_proxy_that_refuses_info_costs_the_name_alone(engine: FakeEngine) -> None:
    web = add(engine, "web")
    with Front(engine, denies=nothing_of("/info")) as front, Clocked(front) as watch:  # type: ignore[arg-type]
        watch.run(5)
        engine.crash(web, 3)
        watch.run(60)
        assert watch.told() == ["DEAD web", "Recovered web"]
        assert watch.watchdog.link.facts.host == socket.gethostname()


def test_an_engine_that_is_too_slow_to_say_what_it_is_is_asked_again(engine: FakeEngine) -> None:
    add(engine, "web")
    engine.refuse("/info", 500)
    with Clocked(engine, poll_interval=10.0) as watch:
        watch.run(5)
        assert watch.watchdog.link.facts.host == socket.gethostname()
        engine.heal()
        watch.run(60)
        assert watch.watchdog.link.facts.host == "fakehost" and watch.watchdog.link.facts.engine
        asked = len(engine.called("GET", "/info"))
        watch.run(60)
        assert len(engine.called("GET", "/info")) == asked, "it is known now"


def test_a_proxy_that_refuses_all_is_said_and_not_called_an_engine(engine: FakeEngine) -> None:
    with Front(engine, denies=lambda method, path: 403) as front:
        code, out, err = command("check", DOCKER_HOST=front.host)
    assert (code, out) == (3, "") and "Request forbidden" in err and "<" not in err


# ── Podman ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def podman() -> Iterator[FakeEngine]:
    with FakeEngine(flavour="podman") as fake:
        yield fake
        fake.heal()


def test_podman_says_who_it_is_in_every_answer(podman: FakeEngine, engine: FakeEngine) -> None:
    for fake, said in ((podman, True), (engine, False)):
        asked = sentinel.Engine(fake.host)
        listing = asked.list_all()
        assert isinstance(listing, sentinel.Listed) and asked.kind.podman is listing.kind.podman is said


@pytest.mark.parametrize("code", [0, 3, 137, 143])
def test_podman_4_an_end_that_nothing_tells_of_is_told_and_not_restarted(podman: FakeEngine, code: int) -> None:
    web = add(podman, "web")
    with Clocked(podman) as watch:
        watch.run(5)
        podman.crash(web, code)
        watch.run(300)
        assert len(watch.told()) == 1 and watch.told()[0].endswith(" web")
        assert web.status in ("exited", "stopped") and podman.called("POST") == []
        assert "sentinel.restart=true" in watch.notices[0].plan or "sentinel.job" in watch.notices[0].plan


@pytest.mark.parametrize("code", [137, 143])
def test_podman_a_label_has_it_restarted_all_the_same(podman: FakeEngine, code: int) -> None:
    web = add(podman, "web", labels={"sentinel.restart": "true"})
    with Clocked(podman) as watch:
        watch.run(5)
        podman.crash(web, code)
        watch.run(300)
        assert watch.told() == ["DEAD web", "Recovered web"] and web.running


def test_podman_a_stop_is_never_fought(podman: FakeEngine) -> None:
    for policy in ("no", "always"):
        web = add(podman, f"web-{policy}", policy=policy)
        with Clocked(podman) as watch:
            watch.run(5)
            podman.stop_by_operator(web)
            watch.run(300)
            assert web.status in ("exited", "stopped"), watch.told()


def test_podman_a_removal_is_never_red(podman: FakeEngine) -> None:
    web = add(podman, "web")
    with Clocked(podman) as watch:
        watch.run(5)
        podman.remove(web)
        watch.run(300)
        assert watch.told(Verdict.STOPPED) == []


def test_podman_check_reads_its_states(podman: FakeEngine) -> None:
    up, down = add(podman, "up"), add(podman, "down")
    podman.crash(down, 3)
    code, out, _ = command("check", DOCKER_HOST=podman.host)
    assert up.running and code == 2 and re.search(r"^down +DEAD .*exit 3", out, re.M) and re.search(r"^up +UP", out, re.M)
