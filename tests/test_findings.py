"""Findings keep their meaning on their way through the journal, the wire and JSON."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.encoding import Value, decode, encode
from core.errors import MalformedError
from core.findings import DETAIL_MAX_CHARACTERS, Finding, FindingKind
from core.ids import ObjectId, PeerId, ShardRoot

digests = st.binary(min_size=32, max_size=32)
findings = st.builds(
    Finding,
    kind=st.sampled_from(FindingKind),
    object=st.none() | digests.map(ObjectId),
    holder=st.none() | digests.map(PeerId),
    extent=st.none() | st.integers(0, 2**32 - 1),
    share=st.none() | st.integers(0, 255),
    chunk=st.none() | st.integers(0, 255),
    root=st.none() | digests.map(ShardRoot),
    detail=st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
)


@given(findings)
def test_a_finding_survives_json_and_messagepack(finding: Finding) -> None:
    assert Finding.from_value(json.loads(json.dumps(finding.to_value()))) == finding
    assert Finding.from_value(decode(encode(finding.to_value()), max_bytes=10_000)) == finding


def test_a_finding_reads_as_one_line_that_names_the_place() -> None:
    finding = Finding(
        FindingKind.CORRUPT,
        object=ObjectId(bytes(32)),
        holder=PeerId(b"\x11" * 32),
        extent=2,
        share=5,
        chunk=7,
        detail="share of chunk 7 does not match",
    )
    assert str(finding) == (
        "corrupt chunk 7, share 5, extent 2, object 000000000000 at 111111111111: share of chunk 7 does not match"
    )
    assert str(Finding(FindingKind.STRAY, detail="notes.txt")) == "stray: notes.txt"


def test_a_long_detail_is_cut_not_refused() -> None:
    long = Finding(FindingKind.STRAY, detail="x" * 10_000)
    assert len(Finding.from_value(long.to_value()).detail) == DETAIL_MAX_CHARACTERS


def test_only_what_was_done_is_a_remedy() -> None:
    assert [kind for kind in FindingKind if kind.is_remedy] == ["quarantined", "repaired", "relocated", "removed"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"kind": "haunted"},
        {"kind": 3},
        {"kind": "missing", "share": 256},
        {"kind": "missing", "chunk": -1},
        {"kind": "missing", "extent": True},
        {"kind": "missing", "root": "AB" * 32},
        {"kind": "missing", "root": "ab"},
        {"kind": "missing", "colour": "red"},
    ],
)
def test_what_is_no_finding_is_refused(value: Value) -> None:
    with pytest.raises(MalformedError):
        Finding.from_value(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["kind", "object", "holder", "extent", "share", "chunk", "root", "detail"])


@given(st.dictionaries(keys, plain | st.sampled_from(["missing", "ab" * 32])))
def test_any_other_value_is_a_finding_or_malformed(value: dict[str, object]) -> None:
    try:
        finding = Finding.from_value(cast(Value, value))
    except MalformedError:
        return
    assert Finding.from_value(finding.to_value()) == finding
