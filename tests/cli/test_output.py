"""What users see: sizes they can read, JSON that parses, names of any bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.output import TerminalProgress, print_json, print_lines, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1024.0 KiB"),
        (1024**2, "1.0 MiB"),
        (473 * 1024**2, "473.0 MiB"),
        (5 * 1024**5, "5.0 PiB"),
        (5000 * 1024**5, "5000.0 PiB"),
    ],
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(0, 2**62))
def test_any_size_is_a_number_and_a_unit(size: int) -> None:
    number, unit = size_text(size).split()
    assert float(number) >= 0
    assert unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def test_json_is_one_object_on_one_line_whatever_the_names(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print_json({"path": "\udcff\u2028\n", "digest": b"\x01\xff", "many": [{"a": None}]})
    out = capsysbinary.readouterr().out
    assert out.count(b"\n") == 1
    assert json.loads(out) == {"schema": 1, "path": "\udcff\u2028\n", "digest": "01ff", "many": [{"a": None}]}


def test_lines_carry_names_byte_for_byte(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print_lines(["study/ä", "study/\udcff\udcfe"])
    assert capsysbinary.readouterr().out == "study/ä\n".encode() + b"study/\xff\xfe\n"


def test_quiet_progress_says_nothing_and_loud_progress_only_notes_where_nobody_looks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for quiet in (True, False):
        progress = TerminalProgress(quiet=quiet)
        progress.begin("storing", 100)
        progress.advance(50)
        progress.note("peer-3 failed")
        progress.close()
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err == ("" if quiet else "moorage: peer-3 failed\n")
