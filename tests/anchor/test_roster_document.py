"""The bytes in docs/ledger/roster.md are those that this release makes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from anchor.organisation import byzantine_majority
from anchor.rosterfile import roster_of
from tests.anchor.consortium import hospitals, version

DOCUMENT = (Path(__file__).parents[2] / "docs" / "ledger" / "roster.md").read_text("utf-8")


def block(name: str) -> str:
    match = re.search(rf"```\w+ {re.escape(name)}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert match is not None, name
    return match[1]


def row(first: str) -> list[int]:
    match = re.search(rf"^\| {first} \|(.*)\|$", DOCUMENT, re.MULTILINE)
    assert match is not None, first
    return [int(cell) for cell in match[1].split("|")]


def test_the_first_root_is_made_and_verified_as_it_stands_there() -> None:
    file = version(None, hospitals("a"), hospitals("a"))
    assert json.loads(block("1.root.json")) == json.loads(file.roots[0])
    assert block("pool").strip() == str(roster_of(file).pool)


def test_the_table_of_thresholds_is_the_rule() -> None:
    counts = row("organisations")
    assert row("signatures that a version takes") == [byzantine_majority(count) for count in counts]
    assert row("members that may lie") == [(count - 1) // 3 for count in counts]
