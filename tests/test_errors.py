"""The error table is a contract: codes go to logs, dashboards and other peers, exit statuses to scripts."""

from __future__ import annotations

import re

import pytest

from core import errors

EXIT_STATUSES = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


def all_error_classes() -> list[type[errors.MoorageError]]:
    """Walked here, not asked of ``error_classes``: a table keyed by code cannot show that two share one."""
    found: list[type[errors.MoorageError]] = []
    waiting: list[type[errors.MoorageError]] = [errors.MoorageError]
    while waiting:
        cls = waiting.pop()
        found.append(cls)
        waiting += cls.__subclasses__()
    return sorted(set(found), key=lambda cls: cls.__qualname__)


def test_no_two_errors_share_a_code() -> None:
    codes = [cls.code for cls in all_error_classes()]
    assert sorted(set(codes)) == sorted(codes)


def test_every_error_has_a_code_of_its_own_and_not_its_parents() -> None:
    assert [cls.__name__ for cls in all_error_classes() if "code" not in vars(cls)] == []


def test_every_error_lives_in_one_file() -> None:
    assert {cls.__module__ for cls in all_error_classes()} == {errors.__name__}


@pytest.mark.parametrize("cls", all_error_classes(), ids=lambda cls: cls.__name__)
def test_an_error_is_named_documented_and_has_a_known_exit_status(cls: type[errors.MoorageError]) -> None:
    assert cls.__name__.endswith("Error")
    assert cls.__doc__
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cls.code)
    assert cls.exit_status in EXIT_STATUSES - {errors.EXIT_OK}


@pytest.mark.parametrize("cls", all_error_classes(), ids=lambda cls: cls.__name__)
def test_a_peers_error_arrives_as_the_class_it_left_as(cls: type[errors.MoorageError]) -> None:
    error = errors.from_code(cls.code, "disk full")
    assert type(error) is cls
    assert str(error) == "disk full"


def test_a_code_of_a_later_release_is_still_an_error() -> None:
    assert type(errors.from_code("not-yet-invented", "?")) is errors.MoorageError
