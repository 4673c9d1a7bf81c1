"""The README's generated parts equal what the code and the tests say."""

import ast
import re
from pathlib import Path

import sentinel

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def between(mark: str) -> str:
    match = re.search(rf"<!-- {mark} -->\n(.*?)\n?<!-- /{mark} -->", README, re.S)
    assert match, f"the README has no part {mark}"
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


def parts() -> dict[str, str]:
    """What is generated, by its marks."""
    return {"settings": sentinel.settings_table(), "phases": phases(),
            "promises": "\n".join(f"- {promise}" for promise in promises())}


def test_the_settings_table_is_made_from_the_code() -> None:
    assert between("settings") == sentinel.settings_table(), "run: python3 tests/test_readme.py"


def test_the_phase_diagram_is_made_from_the_code() -> None:
    assert between("phases") == phases(), "run: python3 tests/test_readme.py"


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


def test_each_row_of_what_counts_as_what_has_a_test() -> None:
    table = README.partition("| what happened | told | healed |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (?!-)(.*?) \|", table, re.M)
    assert len(rows) == len(PROVEN_BY)
    tests = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "tests").rglob("test_*.py")))
    for row, (start, name) in zip(rows, PROVEN_BY.items(), strict=True):
        assert row.startswith(start)
        assert f"\ndef test_{name}(" in tests, name


def test_every_title_is_in_the_table() -> None:
    rows = README.partition("| title | colour | says |")[2].partition("\n\n")[0]
    own = [verdict for verdict in sentinel.Verdict if verdict not in sentinel.OTHERS]
    words = [f"[{verdict}]" if verdict.isupper() else f"{verdict}:" for verdict in own]
    names = {getattr(sentinel, name.upper()): name for name in ("red", "green", "grey", "amber", "blue")}
    colours = [names[sentinel.VERDICTS[verdict].colour] for verdict in own]
    wanted = {f"`{word}` | {colour}" for word, colour in zip(words, colours, strict=True)}
    assert set(re.findall(r"^\| (`.*` \| \w+) \|", rows, re.M)) == wanted


def test_every_metric_and_setting_it_names_exists() -> None:
    assert set(re.findall(r"\bsentinel_[a-z_]+\b", README)) <= set(sentinel.METRICS)
    known = {meta["variable"] for _, meta in sentinel.options()}
    known |= {f"{meta['variable']}_FILE" for _, meta in sentinel.options() if meta["secret"]}
    named = set(re.findall(r"\b(?:SENTINEL|DISCORD)_[A-Z_]*[A-Z]\b", README))
    assert named - known <= {"DISCORD_WEBHOOK_FILE", "SENTINEL_TEST_KILLS"}  # of the Compose example, of the tests


def test_the_proxys_list_is_that_of_the_compose_example() -> None:
    example = (ROOT / "docker-compose.example.yml").read_text(encoding="utf-8")
    rules = re.findall(r"# +- (-allow(?:GET|POST)=.*)", example)
    assert len(rules) == 2 and all(rule in README for rule in rules)


def test_it_names_no_machine() -> None:
    assert not re.search(r"/root/|/home/\w|/tmp/w", README)
    assert set(re.findall(r"https?://([\w.-]+)", README)) <= {"discord.com", "github.com", "127.0.0.1", "sentinel"}


def test_each_promise_is_the_name_of_a_test() -> None:
    assert between("promises") == "\n".join(f"- {promise}" for promise in promises()), "run: python3 tests/test_readme.py"


def test_each_command_that_the_readme_names_exists() -> None:
    table = README.partition("| command |")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| `(\w+)", table, re.M))
    choices = next(action.choices for action in sentinel.command_line()._actions if action.dest == "command")
    assert named == set(choices or ())


if __name__ == "__main__":  # writes the generated parts
    text = README
    for mark, part in parts().items():
        pattern = rf"(<!-- {mark} -->\n).*?\n?(<!-- /{mark} -->)"
        text = re.sub(pattern, lambda m, part=part: f"{m[1]}{part}\n{m[2]}", text, flags=re.S)
    (ROOT / "README.md").write_text(text, encoding="utf-8")
