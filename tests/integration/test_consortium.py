"""Hospitals found a consortium, join it, and leave it: real processes, each with keys of its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from anchor.manifest import parse_manifest
from core.ids import ObjectId
from tests.integration.consortium import POOL, Consortium, consortium
from tests.integration.pool import is_whole, random_file, run, wait_until

# Some forty processes one after the other; the machine may be busy.
pytestmark = pytest.mark.timeout(300)


def put_some(pool: Consortium, by: str, folder: Path, count: int) -> None:
    for number in range(count):
        stored = pool.run(by, "put", random_file(folder / f"study-{number}", 300_000, seed=number)).json
        assert stored["anchored"] is True


def roots_of(pool: Consortium, *names: str) -> set[str]:
    """The names of all shards that the manifests at these hospitals ask for."""
    files = [path for name in names for path in (pool.home(name, "peer-1") / "manifests").rglob("*") if path.is_file()]
    manifests = [parse_manifest(path.read_bytes(), expected=ObjectId.parse(path.name)) for path in files]
    return {str(root) for item in manifests for extent in item.all_extents() for root in extent.roots}


def whole_shards(pool: Consortium, *names: str) -> set[str]:
    return {path.name for name in names for path in pool.shards(name) if is_whole(path)}


def entries_of(pool: Consortium, name: str) -> int:
    size: int = pool.run(name, "ledger", "show", pool.log_folder(name)).json["size"]
    return size


def check_it_says_pending(pool: Consortium, name: str, file: Path) -> None:
    printed = pool.run("a", "receipt", name[:8], expect=75)
    assert "is pending" in printed.complaint
    file.write_bytes(printed.output)
    checked = pool.run("b", "check-receipt", file, expect=75).json
    assert (checked["object"], checked["state"], checked["valid"]) == (name, "pending", False)
    assert (checked["origin"], checked["needed"]) == (f"{POOL}/a/1", 3)
    assert len(checked["cosigners"]) < 3
    words = run("check-receipt", file, expect=75).output.decode()
    assert "durable in the log by the log's own signature only" in words


def check_any_file_is_anchored_for_all(pool: Consortium, file: Path) -> None:
    """By the organisation's log, once, with a proof that another member believes."""
    random_file(file, 5000, seed=9)
    made, again = (pool.run("a", "anchor", file).json["anchored"][0] for _ in range(2))
    assert (made["index"], made["origin"], again["index"]) == (2, f"{POOL}/a/1", 2)
    assert len({item["name"] for item in made["cosigners"]}) == 3
    assert pool.run("b", "ledger", "verify", made["proof"], "--against", file).json["valid"] is True
    random_file(file, 5000, seed=10)
    pool.run("b", "ledger", "verify", made["proof"], "--against", file, expect=4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_only_what_a_quorum_cosigned_is_called_anchored_and_the_same_put_goes_on(tmp_path: Path) -> None:
    with consortium(tmp_path / "pool", *"abcd") as pool:
        first, second, third = (random_file(tmp_path / str(number), 90_000, seed=number) for number in range(3))
        receipt = pool.run("a", "put", first).json["receipt"]
        assert len(pool.run("a", "check-receipt", receipt).json["cosigners"]) == 3
        pool.stop("d")
        receipt = pool.run("a", "put", second).json["receipt"]
        signed_by = pool.run("a", "check-receipt", receipt).json["cosigners"]
        assert [name.split("/")[1] for name in signed_by] == ["a", "b", "c"]
        check_any_file_is_anchored_for_all(pool, tmp_path / "report")

        pool.stop("c")
        words: list[str | Path] = ["put", third, "--scheme", "1+1", "--allow-degraded"]
        refused = pool.run("a", *words, expect=75)
        assert "run the same put again" in refused.complaint
        listed = pool.run("a", "ls").json
        (waiting,) = listed["pending"]
        assert (len(listed["objects"]), waiting["state"], waiting["bytes"]) == (2, "pending", 90_000)
        check_it_says_pending(pool, waiting["object"], tmp_path / "pending.json")
        # Neither a restart nor the loss of the files is in the way.
        third.rename(tmp_path / "elsewhere")
        pool.stop("a")
        pool.start("a")
        still = pool.run("a", "receipt", "--settle", expect=75).json
        assert [item["object"] for item in still["pending"]] == [waiting["object"]]
        pool.start("c")
        wait_until(lambda: pool.run("a", "receipt", "--settle", expect=None).status == 0, what="quorum", within_s=60)
        assert pool.run("a", "receipt", "--settle").json["settled"] == []
        listed = pool.run("a", "ls").json
        assert (len(listed["objects"]), listed["pending"]) == (3, [])
        receipt = pool.home("a") / "receipts" / waiting["object"]
        assert len(pool.run("a", "check-receipt", receipt).json["cosigners"]) == 3
        (tmp_path / "elsewhere").rename(third)
        assert pool.run("a", *words).json["object"] == waiting["object"]
        # One manifest and one entry, however often it was tried; and the file's.
        assert entries_of(pool, "a") == 4
        looked = pool.run("b", "ledger", "watch", "--once", expect=None).json
        assert [item["silent"] is None for item in looked["logs"] if item["origin"].split("/")[1] == "a"] == [True]
        assert not looked["alarms"]


@pytest.mark.slow
def test_a_hospital_joins_by_one_word_and_its_disk_receives_shards_and_another_leaves(tmp_path: Path) -> None:
    with consortium(tmp_path / "pool", "a", "b", "c") as pool:
        joining = pool.start_joining("d", "b")
        assert pool.approve("d", "a", "b")["published"] is False
        # Two of three have signed, and d itself, whose word counts for nothing before it is a member.
        assert pool.epoch("a") == 3
        said = pool.approve("d", "c")
        approved_at = time.monotonic()
        assert (said["published"], said["epoch"]) == (True, 4)
        joined = joining.wait().json
        assert joined["epoch"] == 4
        assert joined["peers"][0]["pid"]
        pool.members.append("d")
        put_some(pool, "a", tmp_path, 4)
        wait_until(lambda: bool(pool.shards("d")), what="shard at d", within_s=60 - (time.monotonic() - approved_at))
        assert time.monotonic() - approved_at < 60
        wait_until(lambda: all(pool.epoch(name, "peer-1") == 4 for name in "abcd"), what="roster everywhere")

        wanted = roots_of(pool, *"abcd")
        assert wanted <= whole_shards(pool, *"abcd")
        pool.run("c", "consortium", "leave", "--reason", "closes")
        assert pool.approve("c", "a", "b")["published"] is False
        assert pool.approve("c", "d")["published"] is True
        # Without a grace: who leaves is not silent but gone.
        lost = wanted - whole_shards(pool, *"abd")
        assert lost
        wait_until(lambda: wanted <= whole_shards(pool, *"abd"), what="pool full again", within_s=90)
        assert not roots_of(pool, *"abd") - whole_shards(pool, *"abd")
        # It is told so, and can neither look nor store any more.
        assert pool.run("c", "peers", expect=None).status != 0
        listed = [peer["organisation"] for peer in pool.run("a", "peers").json["peers"]]
        assert sorted(listed) == ["a", "b", "d"]


def test_an_invitation_is_one_organisation_s_and_what_is_damaged_or_expired_is_none(tmp_path: Path) -> None:
    with consortium(tmp_path / "pool", "a") as pool:
        token = pool.invitation("a")
        first = pool.start_joining("b", "a", token=token)
        pool.wait_for_proposal("a", "b")
        second = pool.start_joining("mallory", "a", token=token).wait(expect=6)
        assert "another applicant" in second.complaint
        cut = pool.start_joining("c", "a", token=token[:-20]).wait(expect=2)
        assert "cut off" in cut.complaint
        short = pool.run("a", "consortium", "invite", "--hours", "0.0001").json["token"]
        time.sleep(0.5)
        assert "expired" in pool.start_joining("c", "a", token=short).wait(expect=2).complaint
        # An attempt that was broken off goes on where it was.
        first.kill()
        pool.approve("b", "a")
        run(*first.words, "--no-start")
        assert pool.epoch("b") == 2


@pytest.mark.slow
def test_members_rotate_keys_renew_and_never_sign_two_rosters_of_one_version(tmp_path: Path) -> None:
    with consortium(tmp_path / "pool", "a", "b") as pool:
        before = {item["name"]: item["admin_key"] for item in pool.run("a", "roster", "show").json["organisations"]}
        assert pool.run("a", "consortium", "rotate-key").json["published"] is False
        refused = pool.run("a", "consortium", "renew", expect=6)
        assert "never signs a second one" in refused.complaint
        assert pool.approve("a", "b")["published"] is True
        after = {item["name"]: item["admin_key"] for item in pool.run("b", "roster", "show").json["organisations"]}
        assert after["a"] != before["a"]
        assert after["b"] == before["b"]
        # From now on the new key signs.
        asked = pool.run("a", "consortium", "renew").json
        assert asked["published"] is False
        # As if no peer had ever heard of it: the very same is offered again, and no other.
        for name in "ab":
            pool.stop(name)
            (pool.home(name, "peer-1") / "state" / "motions").unlink()
            pool.start(name)
        again = pool.run("a", "consortium", "renew").json
        assert (again["proposal"], again["published"]) == (asked["proposal"], False)
        assert pool.approve("", "b")["published"] is True
        assert pool.epoch("b") == 4
        shown = pool.run("b", "roster", "show", "--tuf", tmp_path / "tuf").json
        assert shown["threshold"] == 2
        assert (tmp_path / "tuf" / "metadata" / "4.root.json").is_file()
        # A second rotation makes a third key.
        assert pool.run("a", "consortium", "rotate-key").json["published"] is False
        assert pool.approve("a", "b")["published"] is True
        last = {item["name"]: item["admin_key"] for item in pool.run("b", "roster", "show").json["organisations"]}
        assert len({before["a"], after["a"], last["a"]}) == 3
