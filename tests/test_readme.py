"""The generated parts of README.md and of tests/README.md equal what the code and the tests say."""

import ast
import re
from pathlib import Path

import sentinel

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: How we know what the README promises.
PROOF = (ROOT / "tests/README.md").read_text(encoding="utf-8")
#: So much is read by somebody who wants to try it; the settings' table is part of that.
MOST_BYTES = 21_500
BOTH = {"README.md": README, "tests/README.md": PROOF}


def between(mark: str, text: str) -> str:
    match = re.search(rf"<!-- {mark} -->\n(.*?)\n?<!-- /{mark} -->", text, re.S)
    assert match, f"there is no part {mark}"
    return match[1]


def promises() -> list[str]:
    """The names of the end-to-end behaviour tests, as sentences."""
    tree = ast.parse((ROOT / "tests/e2e/test_behaviour.py").read_text(encoding="utf-8"))
    found = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [name.removeprefix("test_").replace("_", " ") for name in found]


def phases() -> str:
    """The phases of a watched service as a Mermaid diagram: every legal move, but those of a container that is removed."""
    here = [phase for phase in sentinel.Phase if phase not in sentinel.REMOVED]
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    {phase.name} --> {target.name}" for phase in here for target in here if target in sentinel.MOVES[phase]]
    removed = "from every phase, when the container is removed; a new one is PROVING"
    return "\n".join([*lines, "    MISSING --> GONE", f"    note right of MISSING: {removed}", "```"])


def settings() -> str:
    """The program's table of settings without the flags, for which there is a rule; a secret has none, and a star."""
    lines = []
    for line in sentinel.settings_table().splitlines():
        variable, flag, *rest = line.strip("|").split("|")
        if flag.strip() == "`_FILE` twin":
            variable += "* "
        lines.append("|".join(["", variable, *rest, ""]))
    return "\n".join(lines)


def parts() -> dict[str, dict[str, str]]:
    """What is generated: file → mark → text."""
    return {"README.md": {"settings": settings()},
            "tests/README.md": {"phases": phases(), "promises": "\n".join(f"- {promise}" for promise in promises())}}


def test_the_settings_table_is_made_from_the_code() -> None:
    assert between("settings", README) == settings(), "run: PYTHONPATH=. python3 tests/test_readme.py"


def test_each_flag_is_named_by_the_readmes_rule() -> None:
    before, _, after = README.partition("Each is also a flag")[2].partition("<!-- settings -->")
    pairs = dict(re.findall(r"`(--[\w-]+)` is `(\w+)`", before))
    assert pairs == {"--settle": "SENTINEL_SETTLE", "--docker-host": "DOCKER_HOST"}
    stars = set(re.findall(r"^\| `(\w+)` \* \|", after, re.M))
    flags = {flag for action in sentinel.command_line()._actions for flag in action.option_strings}
    for _, meta in sentinel.options():
        variable = meta["variable"]
        flag = "--" + variable.removeprefix("SENTINEL_").lower().replace("_", "-")
        assert (flag in flags) is not meta["secret"], variable
        assert (variable in stars) is meta["secret"], variable


def test_the_phase_diagram_is_made_from_the_code() -> None:
    assert between("phases", PROOF) == phases(), "run: PYTHONPATH=. python3 tests/test_readme.py"


def test_its_lines_can_be_read() -> None:
    lines = [line for text in BOTH.values() for line in text.splitlines()]
    assert not [line for line in lines if len(line) > 140 and not line.lstrip().startswith("|")]


def test_it_is_short() -> None:
    assert len(README.encode()) <= MOST_BYTES


def test_how_we_know_is_told_elsewhere() -> None:
    told = README.partition("## How we know\n\n")[2].partition("\n\n")[0]
    assert len(told.splitlines()) <= 3 and "(tests/README.md)" in told


def test_what_it_links_to_is_there() -> None:
    links = [(ROOT / file, *link) for file, text in BOTH.items()
             for link in re.findall(r"\]\((?!https?:)([\w./-]*)(#[\w-]+)?\)", text)]  # fmt: skip
    assert len(links) > 5
    for path, target, anchor in links:
        other = path.parent / target if target else path
        assert other.is_file(), target
        heads = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.M)
        anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        assert not anchor or anchor[1:] in anchors, anchor


def test_each_picture_has_words_and_a_dark_form() -> None:
    found = re.findall(
        r'<picture><source media="\(prefers-color-scheme: dark\)" srcset="\.github/pictures/(\w+)-dark\.png"><img\s'
        r'alt="([^"]{20,})"\ssrc="\.github/pictures/(\w+)-light\.png"></picture>', README)  # fmt: skip
    assert len(found) == README.count("<picture>") == README.count("<img")
    assert {dark for dark, _, _ in found} == {"red", "recovered", "fleet", "terminal", "check"}
    assert all(dark == light for dark, _, light in found)


def test_git_ignores_what_the_container_way_leaves_in_the_checkout() -> None:
    told = re.search(r"Git ignores what this leaves in the checkout: (.*)", README)
    assert told
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for name in re.findall(r"`([\w.]+)`", told[1]):
        assert f"/{name}" in lines, name
    way = README.partition("**A container**")[2].partition("**With systemd**")[0]
    assert set(re.findall(r"(?:>>?|example\.yml) ([\w.]+)", way)) == set(re.findall(r"`([\w.]+)`", told[1]))


def test_each_command_at_the_top_of_a_file_is_the_readmes() -> None:
    for file, way, end in (("docker-compose.example.yml", "**A container**", "#\n# On a Swarm"),
                           ("sentinel.service", "**With systemd**", "\n\n")):  # fmt: skip
        top = (ROOT / file).read_text(encoding="utf-8").partition(end)[0]
        mine = README.partition(way)[2].partition("```sh\n")[2].partition("\n```")[0].splitlines()
        assert re.findall(r"^#   (.*)$", top, re.M) == [re.sub(r"\s+# .*", "", line) for line in mine], file


def test_each_label_is_named() -> None:
    source = (ROOT / "sentinel.py").read_text(encoding="utf-8")
    labels = set(re.findall(r"label\(\"(sentinel\.[a-z-]+)\"", source))
    assert labels == set(re.findall(r"^\| `(sentinel\.[a-z-]+)` \|", README, re.M))


#: The rows of "What counts as what", by how they begin, and a test of each, with a real container where one can tell.
PROVEN_BY = {
    "the process ended with a code": "a_crash_is_told_in_red_restarted_and_told_in_green_when_it_holds",
    "it ended with 0, under restart policy": "a_service_that_ends_with_0_is_told_but_not_restarted_under_policy_no",
    "the same within ten minutes": "an_init_container_that_has_done_its_work_is_told_once_in_amber",
    "it removes itself (`docker run --rm`)": "a_good_end_of_a_container_that_removes_itself_is_nothing",
    "it ended with 0, as a job": "a_job_that_ends_well_is_silent_and_one_that_fails_is_told_but_not_restarted",
    "a job ended with an error": "what_waits_for_a_job_is_named_where_that_fails",
    "a one-off that somebody ran": "a_one_off_at_a_terminal_that_ends_with_an_error_is_no_news",
    "`docker kill`": "docker_kill_is_a_death_and_is_healed",
    "a signal that it survived": "a_crash_after_a_signal_that_was_survived_is_a_death",
    "a signal that it obeys": "an_obeyed_signal_is_a_wish",
    "`docker stop`, `compose stop`": "a_stop_is_told_in_grey_after_the_settle_time_and_never_undone",
    "the same with more time": "a_stop_with_a_longer_time_is_left_alone",
    "`restart`, `compose up`": "a_recreated_service_is_not_worth_a_message_and_is_still_watched",
    "others of its project are stopped": "a_death_that_ends_its_project_is_told_and_not_restarted_into_the_teardown",
    "compose made it and never started it":
        "what_compose_never_started_is_one_story_with_what_has_failed_and_started_after_that",
    "the same, while all that it depends on": "what_compose_never_started_since_a_hook_failed_is_told",
    "a recreate that stopped it": "a_recreate_that_breaks_after_the_rename_is_no_stop",
    "`rm -f`, `compose down`": "a_project_taken_down_is_one_grey_message",
    "somebody else starts it again": "what_somebody_else_starts_again_and_again_is_a_crash_loop",
    "a copy of it": "a_copy_of_a_container_is_not_taken_for_it",
    "paused": "a_pause_is_nothing_even_with_a_health_check",
    "unhealthy": "an_unhealthy_service_is_restarted_and_green_only_when_healthy",
    "it can't be started": "a_container_that_cannot_be_started_is_told_with_the_engines_words",
    "Docker's own restart policy": "where_docker_gave_up_sentinel_steps_in",
    "what it depends on is down": "a_cascade_is_one_red_with_its_root_and_one_green_when_all_is_back",
    "it depends on a service by": "dependants_that_ask_for_it_are_restarted_with_what_they_need",
    "it shares the network of a container": "what_shares_a_dead_containers_network_is_restarted_after_it",
    "the same, but that container was recreated":
        "what_shares_the_network_of_a_recreated_container_is_orphaned_and_left_alone",
    "it removes itself (`--rm`)": "what_removes_itself_and_is_gone_at_the_engines_return_is_told",
    "the engine restarts": "what_a_killed_engine_did_not_bring_back_is_started_in_order",
    "the engine is away": "an_engine_that_goes_and_comes_back_is_at_most_three_messages_however_many_containers",
    "it died while Sentinel was away": "a_death_while_sentinel_was_away_is_told_with_its_own_time",
}  # fmt: skip


#: The rows of the README's short table, by how they begin, and rows of the long one, by how those begin.
SHORT_FOR = {
    "an error, a signal": ["the process ended with a code", "`docker kill`", "unhealthy"],
    "an end with 0 under policy": ["it ended with 0, under restart policy", "the same within ten minutes"],
    "an end with 0 of a job": ["it ended with 0, as a job", "it removes itself (`docker run --rm`)"],
    "a job ended with an error": ["a job ended with an error"],
    "`docker stop`, `rm -f`": ["`docker stop`, `compose stop`", "`rm -f`, `compose down`", "a signal that it obeys"],
    "`restart`, `compose up`": ["`restart`, `compose up`", "paused"],
    "a deploy broke off": ["a recreate that stopped it", "the same, while all that it depends on"],
    "it can't be started": ["it can't be started"],
    "Docker's own restart policy": ["Docker's own restart policy"],
    "what it depends on is down": ["what it depends on is down", "compose made it and never started it"],
    "its root was restarted": ["it depends on a service by", "it shares the network of a container"],
    "the container whose network": ["the same, but that container was recreated"],
    "the engine restarts": ["the engine restarts", "the engine is away"],
    "it died while Sentinel was away": ["it died while Sentinel was away"],
}


def rows_of(text: str) -> list[str]:
    """The first cells of the table of what counts as what."""
    table = text.partition("| what happened | told | healed |")[2].partition("\n\n")[0]
    return re.findall(r"^\| (?!-)(.*?) \|", table, re.M)


def test_each_row_of_what_counts_as_what_has_a_test() -> None:
    rows = rows_of(PROOF)
    assert len(rows) == len(PROVEN_BY)
    tests = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "tests").rglob("test_*.py")))
    for row, (start, name) in zip(rows, PROVEN_BY.items(), strict=True):
        assert row.startswith(start)
        assert f"\ndef test_{name}(" in tests, name


def test_each_row_of_the_short_table_has_rows_in_the_long_one() -> None:
    for row, (start, long) in zip(rows_of(README), SHORT_FOR.items(), strict=True):
        assert row.startswith(start)
        assert set(long) <= set(PROVEN_BY), start


def test_every_title_is_in_the_table() -> None:
    rows = README.partition("| title | colour | says |")[2].partition("\n\n")[0]
    own = [verdict for verdict in sentinel.Verdict if verdict not in sentinel.OTHERS]
    words = [f"[{verdict}]" if verdict.isupper() else f"{verdict}:" for verdict in own]
    names = {getattr(sentinel, name.upper()): name for name in ("red", "green", "grey", "amber", "blue")}
    colours = [names[sentinel.VERDICTS[verdict].colour] for verdict in own]
    wanted = {f"`{word}` | {colour}" for word, colour in zip(words, colours, strict=True)}
    assert set(re.findall(r"^\| (`.*` \| \w+) \|", rows, re.M)) == wanted


def test_every_metric_and_setting_it_names_exists() -> None:
    text = README + PROOF
    assert set(re.findall(r"\bsentinel_[a-z_]+\b", text)) <= set(sentinel.METRICS)
    known = {meta["variable"] for _, meta in sentinel.options()}
    known |= {f"{meta['variable']}_FILE" for _, meta in sentinel.options() if meta["secret"]}
    named = set(re.findall(r"\b(?:SENTINEL|DISCORD)_[A-Z_]*[A-Z]\b", text))
    assert named - known <= {"DISCORD_WEBHOOK_FILE", "SENTINEL_TEST_KILLS"}  # of the Compose example, of the tests


def test_the_proxys_list_in_security_is_that_of_the_compose_example() -> None:
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "(SECURITY.md)" in README
    example = (ROOT / "docker-compose.example.yml").read_text(encoding="utf-8")
    rules = re.findall(r"# +- (-allow(?:GET|POST)=.*)", example)
    assert len(rules) == 2 and all(rule in security for rule in rules)


def test_it_names_no_machine() -> None:
    text = README + PROOF
    assert not re.search(r"/root/|/home/\w|/tmp/w|\.\./shared", text)
    assert set(re.findall(r"https?://([\w.-]+)", text)) <= {"discord.com", "github.com", "127.0.0.1", "sentinel"}


def test_each_promise_is_the_name_of_a_test() -> None:
    wanted = "\n".join(f"- {promise}" for promise in promises())
    assert between("promises", PROOF) == wanted, "run: PYTHONPATH=. python3 tests/test_readme.py"


def test_each_command_that_the_readme_names_exists() -> None:
    table = README.partition("| command |")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| `(\w+)", table, re.M))
    choices = next(action.choices for action in sentinel.command_line()._actions if action.dest == "command")
    assert named == set(choices or ())


if __name__ == "__main__":  # writes the generated parts
    for name, made in parts().items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for mark, part in made.items():
            pattern = rf"(<!-- {mark} -->\n).*?\n?(<!-- /{mark} -->)"
            text = re.sub(pattern, lambda m, part=part: f"{m[1]}{part}\n{m[2]}", text, flags=re.S)
        (ROOT / name).write_text(text, encoding="utf-8")
