"""No regular expression of the portal backtracks without bound, by static analysis.

Much of what they read is a stranger's: names, tags, headers, transcripts. regexploit finds the patterns in
which three repetitions or more compete for the same characters, or a repetition repeats itself: their time is
cubic or worse.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from regexploit.ast.sre import SreOpParser
from regexploit.redos import find

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = {"compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}


def patterns() -> Iterator[tuple[str, str]]:
    """Place and text of each pattern that is written as a constant."""
    for package in ("batches", "domains", "speechportal"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                    continue
                of_re = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
                first = node.args[0]
                if (
                    of_re
                    and node.func.attr in FUNCTIONS
                    and isinstance(first, ast.Constant)
                    and isinstance(first.value, str)
                ):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", first.value


def competing(pattern: str) -> list[str]:
    """The parts of a pattern in which repetitions compete, worst first."""
    return [str(each) for each in find(SreOpParser().parse_sre(pattern)) if each.starriness > 2]


def test_the_analysis_finds_what_it_is_for() -> None:
    assert competing(r"^(a+)+$")
    assert competing(r"\s*(.*?)\s*=>")
    assert competing(r"^ {2}Stream #\d+") == []


def test_none_backtracks() -> None:
    found = {place: competing(pattern) for place, pattern in patterns()}
    assert len(found) > 60
    assert {place: parts for place, parts in found.items() if parts} == {}
