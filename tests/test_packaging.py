"""The files that bring Sentinel to people hold their promises: what can be seen without building or starting anything."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_discord import FakeDiscord
from support.fake_engine import FakeEngine
from support.sentinel import Sentinel

import sentinel

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.example.yml").read_text(encoding="utf-8")
UNIT = ROOT / "sentinel.service"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
#: Everything here that is handed on, and so must not name this or that machine.
SHIPPED = [ROOT / name for name in ("Dockerfile", "docker-compose.example.yml", "sentinel.service", "SECURITY.md",
                                    "CONTRIBUTING.md")] + WORKFLOWS  # fmt: skip


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, lines that go on joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in text.splitlines() if line.strip()]


def of(name: str) -> list[str]:
    """The arguments of each instruction of this name."""
    return [arguments for instruction, arguments in instructions() if instruction == name]


# ── The image ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_base_is_a_small_official_python_pinned_by_tag_and_can_be_chosen() -> None:
    assert instructions()[:2] == [("ARG", of("ARG")[0]), ("FROM", "${BASE}")]
    assert re.fullmatch(r"BASE=python:3\.\d+-(slim-[a-z]+|alpine3\.\d+)", of("ARG")[0])
    minor = int(re.findall(r"python:3\.(\d+)", of("ARG")[0])[0])
    assert minor >= 11


def test_one_file_is_copied_and_nothing_is_installed_or_fetched() -> None:
    assert of("COPY") == ["sentinel.py /sentinel.py"] and not of("ADD")
    assert not re.search(r"\b(pip|apk|apt|apt-get|curl|wget|gcc)\b", " ".join(of("RUN")))


def test_it_runs_as_nobody_special_and_signals_reach_python() -> None:
    (user,) = of("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user), "numbers, so that others can see that it is not root"
    assert of("ENTRYPOINT") == ['["python3", "/sentinel.py"]'] and of("STOPSIGNAL") == ["SIGTERM"] and not of("CMD")
    assert of("HEALTHCHECK")[0].endswith('CMD ["python3", "/sentinel.pyc", "health"]')
    owner = user.partition(":")[0]
    assert f"install -d -o {owner} " in of("RUN")[0] and of("VOLUME") == ["/var/lib/sentinel"]
    assert f'user: "{owner}:' in COMPOSE


def test_it_has_the_labels_of_the_oci() -> None:
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", of("LABEL")[0]))
    assert labels >= {"title", "description", "source", "licenses", "version", "revision", "created"}


def test_the_build_needs_no_list_of_what_to_ignore() -> None:
    assert not (ROOT / ".dockerignore").exists(), "one file is copied by its name"


# ── One version, no machine's names ───────────────────────────────────────────────────────────────────────────


def test_the_version_stands_in_one_place() -> None:
    version = rf"(?<![\d.]){re.escape(sentinel.__version__)}(?![\d.])"
    for path in [*SHIPPED, ROOT / "pyproject.toml"]:
        assert not re.search(version, path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_no_file_names_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/root/|/home/\w|/tmp/", text)
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= {"discord.com", "github.com"}, hosts
    assert not [line for line in text.splitlines() if len(line) > 125 and not line.startswith("|")], "too long to read"


# ── The Compose example and its proxy ─────────────────────────────────────────────────────────────────────────


def test_the_words_for_a_missing_variable_are_understood_by_a_swarm_too() -> None:
    """`docker stack deploy` takes the first - within ${…} for the beginning of a default."""
    wanted = re.findall(r"\$\{(\w+):\?([^}]*)\}", COMPOSE)
    assert [name for name, _ in wanted] == ["DOCKER_GID"]
    assert not any("-" in words for _, words in wanted)


def test_every_setting_that_the_files_name_exists() -> None:
    known = {meta["variable"] for _, meta in sentinel.options()}
    known |= {f"{meta['variable']}_FILE" for _, meta in sentinel.options() if meta["secret"]}
    mine = {"SENTINEL_IMAGE", "DISCORD_WEBHOOK_FILE", "SENTINEL_TEST_BASE", "SENTINEL_TEST_SEED", "SENTINEL_FUZZ_SECONDS"}
    for path in SHIPPED:
        named = set(re.findall(r"\b(?:SENTINEL|DISCORD)_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
        assert named - mine <= known, path


def proxy_rules() -> dict[str, re.Pattern[str]]:
    """What the example's socket proxy lets through: method → the whole path, as the proxy reads it."""
    return {method: re.compile(rf"^(?:{rule})$") for method, rule in re.findall(r"# +- -allow([A-Z]+)=(.*)", COMPOSE)}


def alternatives(rule: re.Pattern[str]) -> list[str]:
    """Each path of a rule with one group: /x(a|b)y is /xay and /xby."""
    match = re.fullmatch(r"\^\(\?:([^()]*)\(([^()]*)\)([^()]*)\)\$", rule.pattern)
    assert match, f"{rule.pattern} has not one group"
    return [match[1] + choice + match[3] for choice in match[2].split("|")]


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Poll until it holds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_the_proxy_lets_through_what_sentinel_calls_and_nothing_else(tmp_path: Path) -> None:
    with FakeEngine() as engine, FakeDiscord() as discord:
        dies = engine.add("dies", project="shop", started_ago=3600.0)
        sick = engine.add("sick", project="shop", started_ago=3600.0, healthcheck=True, stop_timeout=1)
        with Sentinel(tmp_path, engine.host, DISCORD_WEBHOOK_URL=discord.add_webhook().url) as daemon:
            daemon.wait_ready("dies", "sick")
            engine.crash(dies, 3)
            engine.health(sick, "unhealthy")
            wait_for(lambda: {"start", "restart"} <= {call.path.partition("?")[0].rpartition("/")[2]
                                                      for call in engine.calls if call.method == "POST"},
                     "one to be started and one to be restarted")  # fmt: skip
        calls = {f"{call.method} {call.path.partition('?')[0]}" for call in engine.calls}
    rules = proxy_rules()
    assert set(rules) == {"GET", "POST"}
    for call in calls:
        method, _, path = call.partition(" ")
        assert rules[method].match(path), f"the proxy would refuse {call}"
    for method, rule in rules.items():
        for choice in alternatives(rule):
            used = [call for call in calls if re.fullmatch(f"{method} {choice}", call)]
            assert used, f"the proxy lets through {method} {choice}, which Sentinel has not called"


def test_the_proxy_refuses_what_would_make_root() -> None:
    rules = proxy_rules()
    for call in ("GET /containers/ab12/archive", "GET /secrets", "GET /containers/ab12/json/../attach", "GET /images/json",
                 "POST /containers/create", "POST /containers/ab12/exec", "POST /containers/ab12/kill", "POST /build",
                 "POST /containers/create/start", "DELETE /containers/ab12"):  # fmt: skip
        method, _, path = call.partition(" ")
        assert method not in rules or not rules[method].match(path), call


def test_security_names_each_call_of_the_proxy() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = {call.replace("ID", "[0-9a-f]+") for call in re.findall(r"`((?:GET|POST) /[\w/]+)`", text)}
    passed = {f"{method} {choice}" for method, rule in proxy_rules().items() for choice in alternatives(rule)}
    assert named == passed


# ── systemd ───────────────────────────────────────────────────────────────────────────────────────────────────


def unit() -> configparser.ConfigParser:
    """The unit; of a key that is given more than once the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT, encoding="utf-8")
    return parser


def test_the_unit_says_what_systemd_has_to_know() -> None:
    service = unit()["Service"]
    wanted = {"Type": "notify", "Restart": "always", "RestartPreventExitStatus": str(int(sentinel.ExitCode.BAD_SETTINGS)),
              "StateDirectory": "sentinel", "DynamicUser": "yes", "SupplementaryGroups": "docker"}  # fmt: skip
    assert {key: service.get(key) for key in wanted} == wanted
    assert 10 <= int(service["WatchdogSec"]) <= 120
    name, _, source = service["LoadCredential"].partition(":")
    assert service["Environment"] == f"DISCORD_WEBHOOK_URL_FILE=%d/{name}" and source.startswith("/etc/")
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0", "it never gives up"
    assert not {"Requires", "BindsTo", "PartOf"} & set(unit()["Unit"]), "it outlives the engine"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze, which needs no running systemd for this."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here (apt-get install systemd)")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "SYSTEMD_COLORS": "0"})  # fmt: skip


def test_the_unit_is_exposed_by_less_than_two() -> None:
    seen = analyze("security", "--offline=true", "--no-pager", str(UNIT))
    if "unrecognized option" in seen.stderr:
        pytest.skip("this systemd-analyze is older than 250 and can't judge a file")
    exposure = re.search(r"exposure level for sentinel\.service: ([\d.]+)", seen.stdout)
    assert exposure, seen.stdout + seen.stderr
    assert float(exposure[1]) < 2.0, seen.stdout


def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    # It looks whether the program is there; the lines above it must be as people get them.
    copy = tmp_path / UNIT.name
    program = Path(sys.executable).resolve()
    text, count = re.subn(r"^ExecStart=\S+", f"ExecStart={program}", UNIT.read_text(encoding="utf-8"), flags=re.M)
    assert count == 1
    copy.write_text(text, encoding="utf-8")
    seen = analyze("verify", "--man=no", str(copy))
    complaints = [line for line in seen.stderr.splitlines() if UNIT.name in line]
    assert not complaints and "Unknown" not in seen.stderr, seen.stderr
    copy.write_text(text.replace("WatchdogSec=", "WatchdogSecs="), encoding="utf-8")
    assert "WatchdogSecs" in analyze("verify", "--man=no", str(copy)).stderr, "a fault would be seen"


# ── Workflows ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_are_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["release.yml", "tests.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_commits_with_their_release(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    uses = re.findall(r"uses: (\S+)(.*)", text)
    assert uses
    for action, rest in uses:
        if not action.startswith("./"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", rest), f"{action}{rest}"


def test_an_action_has_one_commit_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for name, pin in re.findall(r"uses: ([\w/-]+)@(\S+ # \S+)", path.read_text(encoding="utf-8")):
            pins.setdefault(name, set()).add(pin)
    assert not {name: pin for name, pin in pins.items() if len(pin) > 1}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_unless_a_job_says_more(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^permissions:\n  contents: read\n\n", text, re.M)
    assert "pull_request_target" not in text and "secrets." not in text
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")
    # What others may have written (a branch's name, a title) never gets into a script as text.
    for script in re.findall(r"run: (\|\n(?: {10,}.*\n)+|.*)", text):
        assert "${{" not in script, script
    if path.name == "tests.yml":
        assert ": write" not in text
    else:
        assert sorted(re.findall(r"(\w+): write", text)) == ["contents", "packages"]


def test_every_supported_python_is_tested_on_both_architectures() -> None:
    text = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    assert 'python: ["3.11", "3.12", "3.13", "3.14"]' in text
    assert text.count("runner: [ubuntu-24.04, ubuntu-24.04-arm]") == 2


def test_a_release_is_tested_first_and_has_its_sums() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert "uses: ./.github/workflows/tests.yml" in text and text.count("needs: [tests, version") == 2
    assert "linux/amd64,linux/arm64" in text and "sha256sum sentinel.py" in text


# ── What contributors are told ────────────────────────────────────────────────────────────────────────────────


def test_the_recipes_name_what_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in re.findall(r"`(tests/[\w/.]+|\.ci/run|CHANGELOG\.md)`", text):
        assert (ROOT / path).exists(), path
    for name in ("Settings", "option", "mask", "Verdict", "Cause", "Watchdog", "VERDICTS", "headline", "Sight", "STEPS",
                 "sight_of", "Fall", "Channel", "channels_of", "verdict_on", "Delivered"):  # fmt: skip
        assert f"`{name}`" in text or re.search(rf"`[^`]*\b{name}\b[^`]*`", text), name
        assert hasattr(sentinel, name), name
    for name in re.findall(r"`(_\w+)`", text):
        assert hasattr(sentinel.Watchdog, name), name
    assert len(text.splitlines()) <= 75, "one page"


# ── As a command, and where Python is too old ─────────────────────────────────────────────────────────────────


def test_pip_installs_a_command_of_this_version(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("sentinel.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run([sys.executable, "-m", "pip", *install], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    environment = {"PYTHONPATH": str(target), "PATH": os.environ["PATH"]}
    told = subprocess.run([str(target / "bin/sentinel"), "--version"], env=environment, capture_output=True, text=True)
    assert told.stdout.startswith(f"Sentinel {sentinel.__version__} (Python "), told.stderr


@pytest.mark.parametrize("version", [(3, 8), (3, 9), (3, 10)])
def test_an_older_python_is_told_what_is_needed_and_does_not_run_in_a_loop(version: tuple[int, int]) -> None:
    ast.parse((ROOT / "sentinel.py").read_text(encoding="utf-8"), feature_version=version)
    pretend = f"import runpy, sys; sys.version_info = {(*version, 5, 'final', 0)!r}; runpy.run_path('sentinel.py')"
    done = subprocess.run([sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 78 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "needs Python 3.11 or newer" in line and f"this is {version[0]}.{version[1]}.5" in line and "https://" in line
    assert "RestartPreventExitStatus=78" in (ROOT / "sentinel.service").read_text(encoding="utf-8")
    real = shutil.which(f"python{version[0]}.{version[1]}")
    if real and subprocess.run([real, "--version"], capture_output=True).returncode == 0:
        done = subprocess.run([real, "sentinel.py", "check"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 78 and done.stderr.count("\n") == 1


# ── Completion ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("typed", "wanted"), [
    (["ch"], {"check"}), (["--poll"], {"--poll-interval"}), (["check", "--na"], {"--nagios"}),
    (["mu"], {"mute"}), (["un"], {"unmute"}),
])  # fmt: skip
def test_bash_completes_commands_and_flags(typed: list[str], wanted: set[str]) -> None:
    script = subprocess.run([sys.executable, "sentinel.py", "completion", "bash"], cwd=ROOT, capture_output=True, text=True)
    assert script.returncode == 0
    words = " ".join(["sentinel.py", *typed])
    ask = f"{script.stdout}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed)}; _sentinel; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True)
    assert set(done.stdout.split()) == wanted, done.stderr


def test_bash_alone_is_completed() -> None:
    done = subprocess.run([sys.executable, "sentinel.py", "completion", "fish"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "completion bash" in done.stderr
