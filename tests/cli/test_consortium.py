"""Founding and joining: words that lead nowhere are refused before anything is made."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main
from core.errors import EXIT_ERROR, EXIT_USAGE


@pytest.fixture
def taken() -> Iterator[str]:
    """An address where somebody else listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def words(folder: Path, organisation: str, listen: str) -> list[str]:
    return ["--dir", str(folder), "--organisation", organisation, "--listen", listen, "--no-start"]


def found(folder: Path, listen: str) -> None:
    assert main(["-q", "consortium", "init", "--pool", "pool.example", *words(folder, "a", listen)]) == 0


def test_nobody_founds_or_joins_where_somebody_else_listens(
    tmp_path: Path, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = [word for word in words(tmp_path / "b", "b", taken) if word != "--no-start"]
    assert main(["consortium", "init", "--pool", "pool.example", *begun]) == EXIT_USAGE
    assert f"nothing can listen at {taken}" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
    # Elsewhere it may be free: these homes are to be moved there.
    found(tmp_path / "a", taken)
    token = invitation(tmp_path / "a", capsys)
    assert main(["consortium", "join", token, *begun]) == EXIT_USAGE
    assert not (tmp_path / "b").exists()


def invitation(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["--home", str(folder / "client"), "--json", "consortium", "invite"]) == 0
    token: str = json.loads(capsys.readouterr().out)["token"]
    return token


def test_a_join_goes_on_with_the_same_words_only(
    tmp_path: Path, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other words would change nothing of what was made, and the entry that is on its way would be wrong."""
    found(tmp_path / "a", taken)
    join = ["consortium", "join", invitation(tmp_path / "a", capsys), "--wait", "0.2"]
    assert main([*join, *words(tmp_path / "b", "b", "127.0.0.1:7102")]) == EXIT_ERROR
    assert "nobody approved within" in capsys.readouterr().err
    for other, why in (
        (words(tmp_path / "b", "c", "127.0.0.1:7102"), "holds the keys of b, not of c"),
        (words(tmp_path / "b", "b", "127.0.0.1:7103"), "was made for 127.0.0.1:7102, not for 127.0.0.1:7103"),
    ):
        assert main([*join, *other]) == EXIT_ERROR
        complaint = capsys.readouterr().err
        assert why in complaint
        assert "give another --dir, or remove it if b did not join with it" in complaint
    assert main([*join, *words(tmp_path / "b", "b", "127.0.0.1:7102")]) == EXIT_ERROR
    assert "nobody approved within" in capsys.readouterr().err
