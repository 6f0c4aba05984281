"""The command's frame: words in, an exit status and clear words out."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import main as module
from cli.main import main
from cli.parser import build_parser, parse
from cli.words import HOME_VARIABLE
from core.errors import (
    EXIT_ERROR,
    EXIT_USAGE,
    CorruptError,
    MoorageError,
    NotEnoughPeersError,
    UsageError,
    WitnessRefusedError,
    error_classes,
)
from tests.cli.commands import SCRIPT, raising, raising_in_tasks

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = ("trio", "cryptography", "rich", "msgpack", "blake3", "zfec", "kademlia")


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMMANDS", dict.fromkeys(module._COMMANDS, "tests.cli.commands:run"))
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    SCRIPT.act = lambda: 0
    SCRIPT.seen.clear()


Capture = pytest.CaptureFixture[str]


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", error_classes())
def test_each_error_has_its_exit_status_and_says_itself(code: str, capsys: Capture) -> None:
    kind = error_classes()[code]
    SCRIPT.act = raising(kind("what happened, and what to do"))
    assert main(["ls"]) == kind.exit_status
    captured = capsys.readouterr()
    assert captured.err == "moorage: what happened, and what to do\n"
    assert captured.out == ""


@pytest.mark.parametrize("words", [["--json", "ls"], ["ls", "--json"], ["-q", "ls", "--json"]])
def test_with_json_the_error_is_an_object_too(words: list[str], capsys: Capture) -> None:
    SCRIPT.act = raising(CorruptError("chunk 3 \udcff"))
    assert main(words) == CorruptError.exit_status
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "schema": 1,
        "ok": False,
        "error": {"code": "corrupt", "text": "chunk 3 \udcff"},
    }


def test_an_error_of_the_words_is_an_object_too(capsys: Capture) -> None:
    assert main(["get", "--json"]) == EXIT_USAGE
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_an_object_that_is_called_json_asks_for_none(capsys: Capture) -> None:
    SCRIPT.act = raising(CorruptError("x"))
    main(["put", "--", "--json"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("wrap", [raising, raising_in_tasks])
def test_errors_of_tasks_come_out_as_themselves(
    wrap: Callable[[BaseException], Callable[[], int]], capsys: Capture
) -> None:
    SCRIPT.act = wrap(NotEnoughPeersError("4+2 needs 6 peers"))
    assert main(["put", "x"]) == 5
    assert capsys.readouterr().err == "moorage: 4+2 needs 6 peers\n"


def test_several_errors_at_once_are_one_message(capsys: Capture) -> None:
    SCRIPT.act = raising_in_tasks(CorruptError("one"), CorruptError("other"))
    assert main(["verify", "x"]) == CorruptError.exit_status
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("wrap", [raising, raising_in_tasks])
def test_an_interrupt_is_one_line_and_130(wrap: Callable[[BaseException], Callable[[], int]], capsys: Capture) -> None:
    SCRIPT.act = wrap(KeyboardInterrupt())
    assert main(["sweep"]) == 130
    assert capsys.readouterr().err == "moorage: interrupted\n"


def test_an_interrupt_counts_more_than_what_it_caused(capsys: Capture) -> None:
    SCRIPT.act = raising_in_tasks(CorruptError("cut short"), KeyboardInterrupt())
    assert main(["sweep"]) == 130


@pytest.mark.parametrize("wrap", [raising, raising_in_tasks])
def test_a_full_disk_under_the_home_is_a_message(
    wrap: Callable[[BaseException], Callable[[], int]], capsys: Capture
) -> None:
    SCRIPT.act = wrap(OSError(errno.ENOSPC, "No space left on device", "/home/x/state/file"))
    assert main(["put", "x"]) == EXIT_ERROR
    told = capsys.readouterr().err
    assert told.startswith("moorage: /home/x/state/file: No space left on device: make room")


@pytest.mark.parametrize("wrap", [raising, raising_in_tasks])
def test_a_bug_is_not_hidden(wrap: Callable[[BaseException], Callable[[], int]]) -> None:
    SCRIPT.act = wrap(ZeroDivisionError())
    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        main(["ls"])


def run(*words: str, script: str = "") -> subprocess.CompletedProcess[bytes]:
    """The command line in a process of its own, with ``script`` before it."""
    code = f"import sys\nfrom cli import main as module\n{script}\nsys.exit(module.main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, timeout=60)


PIPE = """
module._COMMANDS = dict.fromkeys(module._COMMANDS, "tests.cli.commands:run")
from tests.cli.commands import SCRIPT, raising_in_tasks
SCRIPT.act = raising_in_tasks(BrokenPipeError(32, "Broken pipe"))
"""


def test_a_reader_that_left_is_not_complained_about() -> None:
    """``moorage cat OBJECT FILE | head``: the write fails deep inside the tasks that read the object."""
    ran = run("cat", "x", "y", script=PIPE)
    assert (ran.returncode, ran.stderr) == (EXIT_ERROR, b"")


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--home", "/h", "--json", "-q", "ls", "abcd"],
        ["ls", "abcd", "--home", "/h", "--json", "-q"],
        ["--home=/h", "ls", "--json", "abcd", "--quiet"],
        ["--home", "/elsewhere", "-q", "ls", "--home", "/h", "--json", "abcd"],
    ],
    ids=" ".join,
)
def test_options_may_stand_before_or_after_the_command(words: list[str]) -> None:
    arguments = parse(words)
    assert (arguments.home, arguments.json, arguments.quiet, arguments.object) == ("/h", True, True, "abcd")


def test_defaults_hold_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = parse(["ls"])
    assert (arguments.json, arguments.quiet, arguments.verbose, arguments.object) == (False, False, False, None)
    assert arguments.home == os.path.expanduser("~/.moorage")
    monkeypatch.setenv(HOME_VARIABLE, "/from/environment")
    assert parse(["ls"]).home == "/from/environment"
    assert parse(["ls", "--home", "h"]).home == os.path.abspath("h")


def test_a_command_s_own_commands_take_the_options_too() -> None:
    for words in (["--json", "pool", "up", "--dir", "d"], ["pool", "up", "--dir", "d", "--json"]):
        arguments = parse(words)
        assert (arguments.command, arguments.action, arguments.json) == ("pool", "up", True)


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["get", "x"],
        ["get", "--to", "d"],
        ["put"],
        ["ls", "--nonsense"],
        ["ls", "-q", "-v"],
        ["pool"],
        ["pool", "sideways", "--dir", "d"],
        ["pool", "up"],
        ["pool", "up", "--dir", "d", "--peers", "many"],
        ["events", "--count", "x"],
        ["cat", "x"],
        ["ls", "--jso"],
        ["--vers"],
        ["verify"],
    ],
    ids=" ".join,
)
def test_words_that_make_no_sense_are_a_usage_error_with_help_at_hand(words: list[str], capsys: Capture) -> None:
    with pytest.raises(UsageError):
        parse(words)
    assert main(words) == EXIT_USAGE
    captured = capsys.readouterr()
    assert captured.err.startswith("moorage: ")
    assert "--help" in captured.err
    assert SCRIPT.seen == []


def test_what_may_be_left_out_is_not_called_required() -> None:
    with pytest.raises(UsageError, match="required: OBJECT, --to "):
        parse(["get"])
    assert parse(["get", "abcd", "--to", "d"]).paths == []


def test_every_command_that_is_offered_exists_and_the_other_way_round() -> None:
    offered = {words[0] for words in ([name] for name in module._COMMANDS)}
    listing = build_parser().format_help()
    assert all(name in listing for name in offered)


WORDS: dict[str, list[str]] = {
    "pool": ["status", "--dir", "d"],
    "put": ["path"],
    "get": ["abcd", "--to", "d"],
    "cat": ["abcd", "path"],
    "receipt": ["abcd"],
    "check-receipt": ["file"],
    "verify": ["abcd"],
    "anchor": ["file"],
    "ledger": ["show"],
    "consortium": ["renew"],
    "roster": ["show"],
    "certificate": ["renew"],
}


@pytest.mark.parametrize("name", module._COMMANDS)
def test_each_command_runs_with_its_own_words(name: str) -> None:
    assert main([name, *WORDS.get(name, [])]) == 0
    assert SCRIPT.seen[0].command == name


def commands_of(parser: argparse.ArgumentParser) -> set[str]:
    (commands,) = (action for action in parser._actions if isinstance(action.choices, dict))
    return set(commands.choices or ())


@pytest.mark.parametrize("name", module._COMMANDS)
@pytest.mark.parametrize("before", [[], ["--json", "--home", "put"], ["-q", "--home=plan"]], ids=" ".join)
def test_the_words_of_one_command_mean_the_same_without_the_others(name: str, before: list[str]) -> None:
    words = [*before, name, *WORDS.get(name, [])]
    whole = vars(build_parser().parse_args(words))
    # Of the whole, parse() makes one thing more: an absolute path of the home.
    assert vars(parse(words)) == whole | {"home": str(Path(whole["home"]).expanduser().absolute())}
    alone = commands_of(build_parser(name))
    assert name in alone
    assert alone < commands_of(build_parser())


@pytest.mark.parametrize("words", [["--help", "put"], ["-h", "get"], ["--home", "put", "--help", "get"]], ids=" ".join)
def test_help_before_a_command_is_of_them_all(words: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        parse(words)
    printed = capsys.readouterr().out
    assert all(re.search(rf"^    {name}\b", printed, re.MULTILINE) for name in module._COMMANDS)


def test_exit_statuses_of_commands_pass_through() -> None:
    SCRIPT.act = lambda: 3
    assert main(["verify", "x"]) == 3


def test_without_a_command_there_is_help(capsys: Capture) -> None:
    assert main([]) == 0
    assert "exit status:" in capsys.readouterr().out


def test_the_version_is_told(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("moorage 0.")


@pytest.mark.parametrize("words", [["--help"], ["get", "--help"], ["pool", "up", "--help"], ["nonsense"], ["put"]])
def test_help_and_usage_errors_load_nothing_heavy(words: list[str]) -> None:
    script = f"""
import atexit
def look():
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    if heavy: print("LOADED", heavy, file=sys.stderr)
atexit.register(look)
"""
    ran = run(*words, script=script)
    assert ran.returncode == (0 if "--help" in words else EXIT_USAGE)
    assert b"LOADED" not in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_an_error_s_class_decides_its_status_not_its_text() -> None:
    assert WitnessRefusedError("x").exit_status == 4
    assert MoorageError("x").exit_status == EXIT_ERROR
