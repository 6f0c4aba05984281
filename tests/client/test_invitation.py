"""An invitation comes back as it was written, and nothing else passes for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.invitation import PREFIX, Invitation, format_token, invite, parse_token
from core.errors import PeerRefusedError, UsageError
from core.identity import key_from_seed, make_issuer, read_certificate
from core.ids import PoolId
from core.ports import Address
from tests.anchor.consortium import NOW_S, YEAR_S
from tests.daemon.shards import FixedClock
from tests.sim.chance import SimChance

ISSUER_KEY = key_from_seed(b"i" * 32)
ISSUER = make_issuer(ISSUER_KEY, organisation="a", now=NOW_S, valid_s=YEAR_S, serial=b"s" * 19)


def invitation() -> Invitation:
    return invite(
        ISSUER_KEY,
        ISSUER,
        pool=PoolId(bytes(32)),
        pool_name="pool.example",
        organisation="a",
        address=Address("2001:db8::1", 7711),
        chance=SimChance(1),
        clock=FixedClock(NOW_S),
        valid_s=3600,
    )


def test_an_invitation_is_one_word() -> None:
    token = format_token(invitation())
    assert parse_token(f"  {token}\n") == invitation()
    assert len(token) < 1500
    assert not set(token) & set(" \n\"'$`\\;&|<>()*?")


def test_its_holder_is_a_guest_for_some_hours() -> None:
    certificate = invitation().certificate
    identity, key = read_certificate(certificate, {"a": ISSUER}, now=NOW_S)
    assert (identity.role, identity.organisation) == ("guest", "a")
    assert key == key_from_seed(invitation().seed).public_key().public_bytes_raw()
    with pytest.raises(PeerRefusedError, match="it was an invitation's: ask for another one"):
        read_certificate(certificate, {"a": ISSUER}, now=NOW_S + 3700)
    with pytest.raises(PeerRefusedError, match="roster"):
        # The organisation that invited was removed meanwhile.
        read_certificate(certificate, {}, now=NOW_S)


@given(st.integers(0, 2000), st.text(max_size=3))
def test_a_damaged_invitation_is_none(at: int, other: str) -> None:
    token = format_token(invitation())
    at %= len(token)
    wrong = token[:at] + other
    if parse_or_none(wrong) is not None:
        assert wrong.strip() == token


@given(st.text(max_size=200))
def test_garbage_is_no_invitation(text: str) -> None:
    assert parse_or_none(text) is None
    assert parse_or_none(PREFIX + text) is None


def parse_or_none(token: str) -> Invitation | None:
    try:
        return parse_token(token)
    except UsageError:
        return None
