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


def test_the_settings_table_is_made_from_the_code() -> None:
    assert between("settings") == sentinel.settings_table(), "run: python3 tests/test_readme.py"


def test_each_promise_is_the_name_of_a_test() -> None:
    assert between("promises") == "\n".join(f"- {promise}" for promise in promises()), "run: python3 tests/test_readme.py"


def test_each_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"^\| `(\w+)[^|]*` ?(?:\(the default\) )?\|", README.partition("| command |")[2], re.M))
    choices = next(action.choices for action in sentinel.command_line()._actions if action.dest == "command")
    assert named == set(choices or ())


if __name__ == "__main__":  # writes the generated parts
    parts = {"settings": sentinel.settings_table(), "promises": "\n".join(f"- {promise}" for promise in promises())}
    text = README
    for mark, part in parts.items():
        pattern = rf"(<!-- {mark} -->\n).*?\n?(<!-- /{mark} -->)"
        text = re.sub(pattern, lambda m, part=part: f"{m[1]}{part}\n{m[2]}", text, flags=re.S)
    (ROOT / "README.md").write_text(text, encoding="utf-8")
