"""A consortium's roster: what its organisations signed holds, and nothing else does."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from tuf.api.exceptions import ExpiredMetadataError
from tuf.ngclient import Updater

from anchor.draft import Ballot, check_ballot, count_ballots, draft_of, sign_draft, tuf_key
from anchor.leaps import for_receipt
from anchor.organisation import byzantine_majority, policy_of_member, witnesses_of
from anchor.policy import parse_policy
from anchor.rootchain import assemble, check_successor, contents_of_file, verify_chain
from anchor.roster import Roster, parse_roster, read_roster
from anchor.rosterfile import (
    RosterFile,
    canonical_json,
    encode_roster_file,
    parse_roster_file,
    pool_of_root,
    roster_of,
    tuf_files,
)
from core.encoding import decode, encode, encode_checked
from core.errors import BadSignatureError, CorruptError, MalformedError, MoorageError, NewerVersionError, RosterError
from core.identity import public_bytes
from core.limits import ROSTER_MAX_BYTES
from tests.anchor.consortium import (
    FOUR,
    NOW_S,
    YEAR_S,
    Hospital,
    founded,
    hospitals,
    roster_of_hospitals,
    swapped,
    version,
)
from tests.core.test_encoding import values


def whole(file: RosterFile) -> Roster:
    return parse_roster(encode_roster_file(file), now_s=NOW_S)


def test_what_is_signed_comes_back() -> None:
    roster = whole(founded())
    wanted = roster_of_hospitals(1, FOUR)
    assert roster.organisations == wanted.organisations
    assert (roster.pool_name, roster.epoch, roster.expires_s) == ("consortium.example", 1, NOW_S + YEAR_S)
    assert roster.seeds == wanted.seeds
    assert roster.is_consortium
    assert roster.is_whole
    assert read_roster(encode_roster_file(founded())) == roster


def test_the_pool_is_named_by_its_first_root_for_ever() -> None:
    later = whole(swapped())
    assert later.pool == whole(founded()).pool
    assert later.epoch == 2
    assert [item.name for item in later.organisations] == ["b", "c", "d", "e"]
    signed: Any = json.loads(founded().roots[0])["signed"]
    assert canonical_json(signed) == cast(str, encode_canonical(signed)).encode()
    assert pool_of_root(canonical_json(signed)) == later.pool.raw


@pytest.mark.parametrize(
    ("count", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7), (13, 9)]
)
def test_a_quorum_outvotes_the_liars(count: int, needed: int) -> None:
    assert byzantine_majority(count) == needed
    # Two quorums share more organisations than may lie.
    assert 2 * needed - count > (count - 1) // 3


def test_a_swap_of_a_member_needs_the_threshold_of_the_old_and_of_the_new() -> None:
    newcomers = [*FOUR[1:], Hospital("e")]
    assert whole(version(founded(), newcomers, FOUR[1:4])).epoch == 2
    with pytest.raises(BadSignatureError, match="root"):
        # Three of the new (b, c, e), but two of the old.
        version(founded(), newcomers, [FOUR[1], FOUR[2], Hospital("e")])
    with pytest.raises(BadSignatureError, match="root"):
        # Three of the old (a, b, c), but two of the new.
        version(founded(), newcomers, FOUR[:3])
    with pytest.raises(BadSignatureError):
        version(founded(), newcomers, FOUR[2:4])


def test_a_first_version_needs_all_that_its_number_of_members_asks() -> None:
    assert whole(version(None, FOUR[:1], FOUR[:1])).epoch == 1
    with pytest.raises(BadSignatureError):
        version(None, FOUR, FOUR[:2])
    draft = draft_of(roster_of_hospitals(1, FOUR))
    count = count_ballots(draft, [sign_draft(draft, item.admin) for item in FOUR[:2]], None)
    assert (count.old_needed, count.new, count.new_needed, count.is_enough) == (0, 2, 3, False)


def test_a_key_that_was_removed_signs_nothing_new() -> None:
    """Roster 3 needs three of b, c, d, e: what a, who left, signs counts for nothing and may not even stand there."""
    members = [*FOUR[1:], Hospital("e")]
    with pytest.raises(BadSignatureError):
        version(swapped(), members, [FOUR[0], FOUR[1], FOUR[2]])
    assert whole(version(swapped(), members, FOUR[:4])).epoch == 3
    stuffed = with_signature(version(swapped(), members, FOUR[1:4]).roots[2], FOUR[0])
    with pytest.raises(RosterError, match="no say"):
        verify_chain(version(swapped(), members, FOUR[1:4])._replace(roots=(*swapped().roots, stuffed)))


def key_id(hospital: Hospital) -> str:
    return tuf_key(public_bytes(hospital.admin)).keyid


def with_signature(root: bytes, signer: Hospital) -> bytes:
    value = json.loads(root)
    signature = signer.admin.sign(canonical_json(value["signed"])).hex()
    value["signatures"].append({"keyid": key_id(signer), "sig": signature})
    value["signatures"].sort(key=lambda item: item["keyid"])
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def test_a_lost_key_is_replaced_by_the_others() -> None:
    renewed = Hospital("a", generation=2)
    file = version(founded(), [renewed, *FOUR[1:]], FOUR[1:4])
    assert whole(file).epoch == 2
    with pytest.raises(BadSignatureError):
        version(file, [renewed, *FOUR[1:]], [FOUR[0], *FOUR[1:3]])
    assert whole(version(file, [renewed, *FOUR[1:]], [renewed, *FOUR[1:3]])).epoch == 3


def test_a_replayed_roster_is_refused() -> None:
    with pytest.raises(RosterError, match="older"):
        check_successor(swapped(), founded(), now_s=NOW_S)
    assert check_successor(founded(), swapped(), now_s=NOW_S)
    assert not check_successor(swapped(), swapped(), now_s=NOW_S)


def test_a_home_that_missed_versions_catches_up() -> None:
    third = version(swapped(), FOUR, FOUR[1:4])
    fourth = version(third, FOUR[:2] + FOUR[3:], FOUR[:4])
    assert check_successor(founded(), fourth, now_s=NOW_S)
    # A version may not be left out.
    with pytest.raises(RosterError, match="another version"):
        verify_chain(third._replace(roots=(*swapped().roots, fourth.roots[3])))


def test_the_same_contents_signed_by_others_are_the_same_roster() -> None:
    members = [*FOUR[1:], Hospital("e")]
    more = version(founded(), members, [*FOUR, Hospital("e")])
    assert more != swapped()
    assert contents_of_file(more) == contents_of_file(swapped())
    assert not check_successor(swapped(), more, now_s=NOW_S)


def test_a_fork_of_a_version_is_refused() -> None:
    one, other = swapped(), version(founded(), [*FOUR[1:], Hospital("f")], FOUR[1:4])
    for offered in (other, version(other, FOUR, [*FOUR[1:], Hospital("f")])):
        with pytest.raises(RosterError, match="fork"):
            check_successor(one, offered, now_s=NOW_S)
    # Here the root is the same, and only what it vouches for differs.
    moved = replace(roster_of_hospitals(2, [*FOUR[1:], Hospital("e")]), seeds=())
    draft = draft_of(moved)
    same_root = assemble(draft, [sign_draft(draft, item.admin) for item in FOUR[1:4]], founded())
    assert same_root.roots == one.roots
    with pytest.raises(RosterError, match="fork"):
        check_successor(one, same_root, now_s=NOW_S)


def test_another_pool_s_roster_is_refused() -> None:
    foreign = version(None, hospitals("x", "y", "z"), hospitals("x", "y", "z"))
    with pytest.raises(RosterError, match="another pool"):
        check_successor(founded(), foreign, now_s=NOW_S)


def test_an_expired_roster_is_refused_and_a_version_after_it_is_not() -> None:
    file = version(founded(), FOUR, FOUR[:3], expires_s=NOW_S - 1)
    with pytest.raises(RosterError, match="expired"):
        parse_roster(encode_roster_file(file), now_s=NOW_S)
    with pytest.raises(RosterError, match="expired"):
        check_successor(founded(), file, now_s=NOW_S)
    # A receipt of that time stands: who verifies it asks for that time, or for none.
    assert parse_roster(encode_roster_file(file), now_s=NOW_S - 2).has_expired(NOW_S)
    assert whole(version(file, FOUR, FOUR[:3])).epoch == 3


COSIGNERS = {f"consortium.example/{name}/1/witness" for name in "bcd"}


def test_a_receipt_s_roster_proves_as_much_and_says_less() -> None:
    small = for_receipt(swapped(), COSIGNERS)
    roster = whole(small)
    assert not roster.is_whole
    policy = parse_policy(roster.organisations[1].policy)
    assert {witness.key.name for witness in policy.witnesses} == COSIGNERS
    assert policy.groups[-1].needed == 3
    assert not whole(for_receipt(swapped(), [name for name in COSIGNERS if "/b/" not in name])).organisations[1].policy
    assert roster.pool == whole(swapped()).pool
    with pytest.raises(RosterError, match="reach"):
        check_successor(founded(), small, now_s=NOW_S)


@pytest.mark.parametrize("where", ["signature", "metadata"])
def test_a_roster_that_was_padded_on_its_way_is_refused(where: str) -> None:
    file = swapped()
    root = json.loads(file.roots[1])
    if where == "metadata":
        root["zzz"] = "A" * 1000
    else:
        root["signatures"][0]["zzz"] = "A" * 1000
    padded = json.dumps(root, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(MalformedError, match="canonical"):
        check_successor(founded(), file._replace(roots=(file.roots[0], padded)), now_s=NOW_S)


def test_a_receipt_of_fourteen_organisations_is_checked_by_a_part_of_the_roster() -> None:
    members = hospitals(*"abcdefghijklmn")
    file = version(None, members, members)
    cosigners = {f"consortium.example/{name}/1/witness" for name in "abcdefghi"}
    roster = whole(for_receipt(file, cosigners))
    assert {witness.key.name for witness in parse_policy(roster.organisations[0].policy).witnesses} == cosigners
    # Of another log's thirteen witnesses too few are known: it has no policy here, and its owner no receipt.
    assert not roster.organisations[6].policy


def with_part(file: RosterFile, part: str, value: Any) -> RosterFile:
    parts: dict[str, Any] = {part: value}
    return file._replace(**parts)


def metadata_with(data: bytes, change: dict[str, Any], signers: list[Hospital]) -> bytes:
    """The metadata with fields of its signed part changed, signed again by ``signers``."""
    value = json.loads(data)
    value["signed"].update(change)
    payload = canonical_json(value["signed"])
    value["signatures"] = [
        {"keyid": keyid, "sig": signer.admin.sign(payload).hex()}
        for keyid, signer in sorted((key_id(signer), signer) for signer in signers)
    ]
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def signed_root(**change: Any) -> dict[str, Any]:
    root: dict[str, Any] = json.loads(founded().roots[0])["signed"]
    return {key: value(root[key]) for key, value in change.items()}


def lowered(roles: dict[str, Any]) -> dict[str, Any]:
    return {role: item | {"threshold": 2} for role, item in roles.items()}


def raised(roles: dict[str, Any]) -> dict[str, Any]:
    return {role: item | {"threshold": 4} for role, item in roles.items()}


def one_role_of_one(roles: dict[str, Any]) -> dict[str, Any]:
    return roles | {"targets": {"keyids": roles["targets"]["keyids"][:1], "threshold": 1}}


def under_two_names(keys: dict[str, Any]) -> dict[str, Any]:
    return keys | {"0" * 64: next(iter(keys.values()))}


@pytest.mark.parametrize(
    "change",
    [
        signed_root(roles=lowered),
        signed_root(roles=raised),
        signed_root(roles=one_role_of_one),
        signed_root(keys=under_two_names),
        {"version": 2},
        {"consistent_snapshot": False},
        {"x": "more"},
    ],
    ids=["threshold too low", "threshold too high", "a role of one", "a key twice", "version", "snapshot", "field"],
)
def test_a_root_of_another_shape_is_refused_though_all_signed_it(change: dict[str, Any]) -> None:
    root = metadata_with(founded().roots[0], change, FOUR)
    with pytest.raises((RosterError, MalformedError)):
        verify_chain(founded()._replace(roots=(root,)))


@pytest.mark.parametrize("part", ["targets", "snapshot", "timestamp"])
def test_each_part_is_signed_by_the_threshold(part: str) -> None:
    data = getattr(swapped(), part)
    short = metadata_with(data, {}, FOUR[1:3])
    with pytest.raises(BadSignatureError):
        verify_chain(with_part(swapped(), part, short))
    old = getattr(founded(), part)
    with pytest.raises(MoorageError):
        verify_chain(with_part(swapped(), part, old))


def test_metadata_in_other_bytes_is_not_canonical() -> None:
    spaced = json.dumps(json.loads(founded().roots[0])).encode()
    with pytest.raises(MalformedError, match="canonical"):
        verify_chain(founded()._replace(roots=(spaced,)))


def test_signatures_are_written_in_one_way_only() -> None:
    value = json.loads(founded().roots[0])
    loud = [item | {"sig": item["sig"].upper()} for item in value["signatures"]]
    for signatures in (loud, value["signatures"][::-1]):
        root = json.dumps(value | {"signatures": signatures}, separators=(",", ":"), sort_keys=True).encode()
        with pytest.raises(MalformedError, match="canonical"):
            verify_chain(founded()._replace(roots=(root,)))


def test_targets_that_are_not_those_of_the_metadata_are_refused() -> None:
    other = version(None, hospitals("a", "b", "c", "e"), hospitals("a", "b", "c"))
    for part in ("ledger", "members"):
        with pytest.raises(CorruptError):
            verify_chain(with_part(founded(), part, getattr(other, part)))


def test_a_ballot_is_four_good_signatures() -> None:
    draft = draft_of(roster_of_hospitals(1, FOUR))
    ballot = sign_draft(draft, FOUR[0].admin)
    check_ballot(draft, ballot)
    other = draft_of(roster_of_hospitals(1, FOUR[:3]))
    wrong = [
        ballot._replace(signatures=ballot.signatures[:3]),
        ballot._replace(signatures=(*ballot.signatures[:3], bytes(64))),
        ballot._replace(signatures=(*ballot.signatures[:3], bytes(63))),
        ballot._replace(signatures=ballot.signatures[::-1]),
        Ballot(sign_draft(draft, FOUR[1].admin).admin_key, ballot.signatures),
    ]
    for item in wrong:
        with pytest.raises(BadSignatureError):
            check_ballot(draft, item)
    with pytest.raises(BadSignatureError):
        check_ballot(other, ballot)
    with pytest.raises(BadSignatureError):
        # The same organisation's ballot three times is one.
        assemble(draft, [ballot] * 3, None)


# --- the file -----------------------------------------------------------------------------------


def test_a_changed_byte_of_the_file_shows() -> None:
    data = encode_roster_file(founded())
    for at in range(0, len(data), 97):
        wrong = bytearray(data)
        wrong[at] ^= 1
        with pytest.raises(MoorageError):
            read_roster(bytes(wrong))


def fields_of(file: RosterFile) -> dict[str, Any]:
    return cast(dict[str, Any], decode(encode_roster_file(file)[:-32], max_bytes=ROSTER_MAX_BYTES))


def test_a_later_version_of_the_format_is_called_that() -> None:
    with pytest.raises(NewerVersionError):
        parse_roster_file(encode_checked(fields_of(founded()) | {"v": 3}))


def test_an_oversized_roster_is_refused() -> None:
    with pytest.raises(MalformedError):
        parse_roster_file(encode_checked(fields_of(founded()) | {"ledger": bytes(ROSTER_MAX_BYTES)}))
    with pytest.raises(MalformedError):
        parse_roster_file(encode_checked(fields_of(founded()) | {"roots": [b""] * 1025}))


@pytest.mark.parametrize("part", ["ledger", "members"])
@given(
    change=st.dictionaries(st.sampled_from(["v", "pool", "epoch", "organisations", "seeds", "x"]), values, min_size=1)
)
def test_parts_of_the_wrong_form_are_refused_as_such(part: str, change: dict[str, Any]) -> None:
    body: Any = decode(getattr(founded(), part), max_bytes=ROSTER_MAX_BYTES)
    if all(body.get(key) == value for key, value in change.items()):
        return
    with pytest.raises(MoorageError):
        roster_of(with_part(founded(), part, encode(body | change)))


@given(st.binary(max_size=300), st.sampled_from(["roots", "targets", "snapshot", "timestamp", "ledger", "members"]))
def test_garbage_is_refused_as_such(data: bytes, part: str) -> None:
    wrong = with_part(founded(), part, (data,) if part == "roots" else data)
    if part == "members" and not data:
        return
    with pytest.raises(MoorageError):
        parse_roster(encode_roster_file(wrong))
    with pytest.raises(MoorageError):
        parse_roster(data)


words = st.sampled_from(["keyid", "sig", "keys", "roles", "_type", "version"]) | st.text(max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


ROOT_FIELDS = ["_type", "spec_version", "version", "expires", "keys", "roles", "consistent_snapshot"]


@given(st.sampled_from(ROOT_FIELDS), json_values)
def test_metadata_with_other_values_is_refused_as_such(field: str, value: Any) -> None:
    document = json.loads(founded().roots[0])
    if document["signed"][field] == value:
        return
    document["signed"][field] = value
    root = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(MoorageError):
        parse_roster(encode_roster_file(founded()._replace(roots=(root,))))


def test_names_and_keys_are_each_one_organisation_s() -> None:
    twin = Hospital("a", generation=2).row()
    rows = (*roster_of_hospitals(1, FOUR).organisations, twin)
    roster = Roster("p", 1, b"", rows, (), b"", NOW_S + YEAR_S)
    draft = draft_of(roster)
    with pytest.raises(MalformedError, match="twice"):
        assemble(draft, [sign_draft(draft, item.admin) for item in FOUR], None)


# --- policies -------------------------------------------------------------------------------------


def test_a_policy_follows_from_the_members() -> None:
    roster = whole(founded())
    for item in roster.organisations:
        policy = parse_policy(item.policy)
        assert [key.name for key in policy.logs] == [f"consortium.example/{item.name}/1"]
        assert len(policy.witnesses) == 8
        keys = {
            owner: [w.key for w in policy.witnesses if w.key.name == f"consortium.example/{owner}/1/witness"]
            for owner in "abcd"
        }
        assert policy.is_met([*keys["a"], *keys["b"], *keys["c"]])
        assert not policy.is_met([*keys["a"], *keys["b"], keys["c"][0], keys["d"][1]])


def test_a_large_consortium_has_thirteen_witnesses_a_log() -> None:
    members = [item.member for item in (hospital.row() for hospital in hospitals(*(f"h{n}" for n in range(20))))]
    known = [member for member in members if member is not None]
    policy = parse_policy(policy_of_member(known, 15))
    assert len({witness.key.name for witness in policy.witnesses}) == 13
    assert policy.groups[-1].needed == 9
    asked = [member for owner in range(20) for member in witnesses_of(known, owner)]
    assert {asked.count(member) for member in known} == {13}


# --- python-tuf's own client ------------------------------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """A missing file is the end of a chain, nothing to be told."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def publish(file: RosterFile, folder: Path) -> None:
    for name, data in tuf_files(file).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def updater(url: str, trusted: Path) -> Updater:
    (trusted / "targets").mkdir(parents=True, exist_ok=True)
    return Updater(
        str(trusted / "metadata"),
        f"{url}/metadata/",
        str(trusted / "targets"),
        f"{url}/targets/",
        bootstrap=founded().roots[0],
    )


def long_lived(before: RosterFile | None, members: list[Hospital], signers: list[Hospital]) -> RosterFile:
    # The client compares with the clock of this machine.
    return version(before, members, signers, expires_s=int(datetime(2090, 1, 1, tzinfo=UTC).timestamp()))


def test_python_tuf_s_own_client_reads_an_exported_roster(tmp_path: Path) -> None:
    file = long_lived(founded(), [*FOUR[1:], Hospital("e")], FOUR[1:4])
    publish(file, tmp_path / "repository")
    with served(tmp_path / "repository") as url:
        client = updater(url, tmp_path / "client")
        client.refresh()
        for name, data in (("ledger", file.ledger), ("members", file.members)):
            info = client.get_targetinfo(name)
            assert info is not None
            assert Path(client.download_target(info)).read_bytes() == data


def test_python_tuf_s_own_client_refuses_an_expired_roster(tmp_path: Path) -> None:
    publish(version(founded(), FOUR, FOUR[:3], expires_s=1_700_000_000), tmp_path / "repository")
    with served(tmp_path / "repository") as url, pytest.raises(ExpiredMetadataError):
        updater(url, tmp_path / "client").refresh()


def test_a_key_of_a_wrong_size_makes_no_chain() -> None:
    value = json.loads(founded().roots[0])["signed"]["keys"]
    for item in value.values():
        item["keyval"]["public"] = "zz"
    with pytest.raises(MoorageError):
        verify_chain(founded()._replace(roots=(metadata_with(founded().roots[0], {"keys": value}, FOUR),)))
