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
