"""``status --durability`` over real daemons: it says what its holders are asked, and no more than they verified."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.integration.pool import Pool, random_file


def planned(command: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the printed command says of its one scheme."""
    program, *words = shlex.split(command)
    assert program == "moorage"
    assert main(["--json", *words, "--samples", "0"]) == 0
    (scheme,) = json.loads(capsys.readouterr().out)["schemes"]
    assert isinstance(scheme, dict)
    return scheme


def test_a_statement_follows_its_object_from_stored_to_verified_to_damaged_to_out_of_reach(
    make_pool: Callable[..., Pool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = make_pool()
    stored = pool.put(random_file(tmp_path / "scan.bin", 600_000))["object"]

    def state(*, expect: int = 0, full: bool = False) -> dict[str, Any]:
        words = ["status", "--durability", stored, *(["--full"] if full else [])]
        return pool.run(*words, expect=expect).json

    fresh = state()
    assert (fresh["health"], fresh["verified"]["oldest"]) == ("full", None)
    assert sorted(fresh["verified"]["never"]) == pool.names
    assert {holder["site"]: holder["organisation"] for holder in fresh["holders"]} == {
        f"site-{number}": f"hospital-{number}" for number in (1, 2, 3)
    }
    assert (fresh["assuming"]["grace_hours"], fresh["assuming"]["sweep_days"]) == pytest.approx((24, 7))
    scheme = planned(fresh["plan"], capsys)
    assert fresh["loss"]["within_a_year"] == pytest.approx(scheme["loss_closed"], rel=1e-4)
    assert fresh["loss"]["common_mode"] == pytest.approx(scheme["loss_common_mode"])

    for name in pool.names:
        pool.sweep(stored, home=name, full=False)
    known = state(full=True)
    assert (known["verified"]["never"], known["verified"]["not_known"]) == ([], [])
    assert known["verified"]["oldest"] == min(holder["verified"] for holder in known["holders"])
    assert known["survives"]["words"] == "any 2 of its holders; any one whole site (site-1, site-2, site-3)"

    for path in pool.shards_of(stored, "peer-3"):
        path.unlink()
    pool.kill("peer-2")
    hurt = state(expect=3, full=True)
    seen = {holder["name"]: holder for holder in hurt["holders"]}
    assert set(seen["peer-2"]["shards"]) == {"silent"}
    assert seen["peer-2"]["verified"] is None
    assert set(seen["peer-3"]["shards"]) == {"missing"}
    assert (hurt["health"], hurt["spare"]) == ("degraded", 0)
    # Of each of the other sites both shares are needed now.
    assert hurt["survives"]["sites"] == {"site-1": False, "site-2": False, "site-3": False}
    assert hurt["loss"]["before_whole"] > hurt["loss"]["yearly_once_whole"] == pytest.approx(scheme["loss_closed"])

    pool.kill("peer-5")
    worst = state(expect=4)
    assert worst["loss"] is None
    assert "too few whole shares answer" in worst["no_loss_figure"]
    for name in ("peer-1", "peer-3", "peer-4", "peer-6"):
        pool.kill(name)
    assert state(expect=5)["error"]["code"] == "not-enough-peers"


def test_what_is_no_object_is_said_so(pool: Pool) -> None:
    for text, status, code in (("ab" * 32, 1, "unknown-object"), ("xyz", 2, "malformed-id")):
        assert pool.run("status", "--durability", text, expect=status).json["error"]["code"] == code
    assert pool.run("status", "--full", expect=2).json["error"]["code"] == "usage"
