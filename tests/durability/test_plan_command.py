"""``moorage plan`` through the entry point."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from cli.main import main
from core.errors import EXIT_ERROR, EXIT_NOT_ENOUGH_PEERS, EXIT_OK, EXIT_USAGE

QUICK = ("plan", "--samples", "100")


def test_it_recommends_the_cheapest_scheme_that_reaches_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--json", "--peers", "9", "--sites", "9", "--target-nines", "6"]) == EXIT_OK
    value = json.loads(capsys.readouterr().out)
    enough = [item for item in value["schemes"] if item["nines"] >= 6]
    assert value["recommended"] == min(enough, key=lambda item: item["overhead"])["scheme"]


def test_it_says_when_no_scheme_reaches_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--target-nines", "30"]) == EXIT_OK
    assert "reaches 30 nines: add peers, or sites" in capsys.readouterr().out


def test_the_same_seed_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    said = [(main([*QUICK, "--scheme", "4+2"]), capsys.readouterr().out) for _ in range(2)]
    assert said[0] == said[1]


def test_rates_of_zero_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--loud", "0", "--silent", "0", "--site-loss", "0", "--common", "0", "--scheme", "4+2")
    assert main([*QUICK, "--json", *words]) == EXIT_OK
    (item,) = json.loads(capsys.readouterr().out)["schemes"]
    assert item["loss_closed"] == item["loss_common_mode"] == 0
    assert item["nines"] is None


def test_the_plot_is_svg(tmp_path: Path) -> None:
    path = tmp_path / "plan.svg"
    assert main([*QUICK, "--plot", str(path)]) == EXIT_OK
    # Written by this test itself a moment ago.
    assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--loud", "five"), EXIT_USAGE),
        (("--loud", "-1"), EXIT_USAGE),
        (("--loud", "nan"), EXIT_USAGE),
        (("--peers", "0"), EXIT_USAGE),
        (("--peers", "1"), EXIT_USAGE),
        (("--peers", "6", "--sites", "7"), EXIT_USAGE),
        (("--sites", "3,0"), EXIT_USAGE),
        (("--peers", "6", "--sites", "3,2"), EXIT_USAGE),
        (("--sites", "x"), EXIT_USAGE),
        (("--capacity", "4 cats"), EXIT_USAGE),
        (("--capacity", "1 TB,2 TB"), EXIT_USAGE),
        (("--scheme", "6+4+2"), EXIT_USAGE),
        (("--samples", "1"), EXIT_USAGE),
        (("--target-nines", "lots"), EXIT_USAGE),
        (("--scheme", "5+2"), EXIT_NOT_ENOUGH_PEERS),
        (("--overhead-max", "1"), EXIT_NOT_ENOUGH_PEERS),
        (("--plot", "/nowhere/at/all.svg"), EXIT_ERROR),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_bad_words_get_their_exit_status(
    words: tuple[str, ...], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, *words]) == status
    assert capsys.readouterr().err.startswith("moorage: ")
