"""The first look at a command line agrees with the parser that reads it whole."""

from __future__ import annotations

import pytest

from cli.parser import parse
from cli.words import HOME_VARIABLE, command_of, home_of


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["put", "x"], "put"),
        (["--home", "put", "get"], "get"),
        (["--home=put", "-q", "--json", "ls"], "ls"),
        (["-v", "--home"], None),
        (["--version"], None),
        (["--help", "put"], None),
        ([], None),
    ],
    ids=str,
)
def test_the_command_is_the_first_word_that_is_no_option(words: list[str], command: str | None) -> None:
    assert command_of(words) == command


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["--home", "a", "ls"],
        ["--home=a", "ls"],
        ["ls", "--home", "b"],
        ["--home", "a", "ls", "--home=~/b"],
        ["put", "--home", "a", "--", "--home", "b"],
        ["put", "--home=../a/./b", "x"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("environment", [None, "/elsewhere", "relative"])
def test_the_home_is_the_parser_s(words: list[str], environment: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if environment is None:
        monkeypatch.delenv(HOME_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(HOME_VARIABLE, environment)
    assert home_of(words) == parse(words).home


def test_a_home_without_a_name_is_left_to_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, "/elsewhere")
    assert home_of(["ls", "--home"]) == "/elsewhere"
