"""The first look at a command line: which command it gives, in which home. Loads nothing: every start begins here."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

HOME_VARIABLE = "MOORAGE_HOME"
DEFAULT_HOME = "~/.moorage"
# What may stand before a command, but for --home and its value.
_FLAGS = frozenset({"--json", "-q", "--quiet", "-v", "--verbose"})
_HOME = "--home"


def command_of(words: Sequence[str]) -> str | None:
    """The word where a command's name is expected; None where something else comes first."""
    rest = iter(words)
    for word in rest:
        if word == _HOME:
            next(rest, None)
        elif word not in _FLAGS and not word.startswith(f"{_HOME}="):
            return None if word.startswith("-") else word
    return None


def home_of(words: Sequence[str]) -> str:
    """The home's folder, absolute: the last one named before ``--``, else the environment's, else the user's."""
    home = default_home()
    rest = iter(words)
    for word in rest:
        if word == "--":
            break
        if word == _HOME:
            home = next(rest, home)
        elif word.startswith(f"{_HOME}="):
            home = word[len(_HOME) + 1 :]
    return absolute(home)


def default_home() -> str:
    return os.environ.get(HOME_VARIABLE, DEFAULT_HOME)


def absolute(home: str) -> str:
    return os.path.abspath(os.path.expanduser(home))
