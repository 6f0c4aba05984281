"""An invitation: all that an organisation needs to ask a consortium to take it in, as one word to be pasted.

Its secret is the key of a guest's certificate, which the inviting organisation issued for some hours. So the door for
strangers is the one that members use, mutual TLS 1.3, and a guest may say no more than it must.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.encoding import decode, encode
from core.errors import MalformedError, UsageError
from core.identity import (
    CERTIFICATE_MAX_BYTES,
    ED25519_KEY_BYTES,
    NAME_MAX_CHARACTERS,
    issue_certificate,
    key_from_seed,
)
from core.ids import DIGEST_BYTES, PoolId
from core.ports import Address, Chance, Clock
from core.schema import Fields

PREFIX = "moorage-invitation-1."
TOKEN_MAX_BYTES = 8192
SERIAL_BYTES = 19


class Invitation(NamedTuple):
    """``issuer``: the inviting organisation's certificate, by which its peer is recognised; ``seed`` is secret."""

    pool: PoolId
    pool_name: str
    address: Address
    organisation: str
    issuer: bytes
    certificate: bytes
    seed: bytes


def invite(
    issuer_key: Ed25519PrivateKey,
    issuer: bytes,
    *,
    pool: PoolId,
    pool_name: str,
    organisation: str,
    address: Address,
    chance: Chance,
    clock: Clock,
    valid_s: float,
) -> Invitation:
    """By the organisation whose issuing key and certificate these are. Valid from now on."""
    seed = chance.token(ED25519_KEY_BYTES)
    certificate = issue_certificate(
        issuer_key,
        issuer,
        key_from_seed(seed).public_key(),
        name=f"guest-{chance.token(4).hex()}",
        site="guest",
        role="guest",
        now=clock.now(),
        valid_s=valid_s,
        serial=chance.token(SERIAL_BYTES),
    )
    return Invitation(pool, pool_name, address, organisation, issuer, certificate, seed)


def format_token(invitation: Invitation) -> str:
    data = encode(
        {
            "pool": invitation.pool.raw,
            "name": invitation.pool_name,
            "address": [invitation.address.host, invitation.address.port],
            "organisation": invitation.organisation,
            "issuer": invitation.issuer,
            "certificate": invitation.certificate,
            "seed": invitation.seed,
        }
    )
    return PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("=")


def parse_token(token: str) -> Invitation:
    """Raises UsageError for what is no token of ours, or was cut off."""
    text = token.strip().removeprefix(PREFIX)
    if text == token.strip() or len(text) > TOKEN_MAX_BYTES:
        raise UsageError(f"this is no invitation: one begins with {PREFIX}")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return _parse(data)
    except (binascii.Error, ValueError, MalformedError) as error:
        raise UsageError(f"this invitation is damaged, or was cut off when it was copied: {error}") from error


def _parse(data: bytes) -> Invitation:
    fields = Fields(decode(data, max_bytes=TOKEN_MAX_BYTES), what="invitation")
    match fields.raw("address"):
        case [str(host), int(port)] if 0 < len(host) <= 255 and 0 < port < 65536:
            address = Address(host, port)
        case _:
            raise MalformedError("invitation: its address is not [host, port]")
    invitation = Invitation(
        pool=PoolId(fields.exact("pool", DIGEST_BYTES)),
        pool_name=fields.text("name", max_characters=NAME_MAX_CHARACTERS),
        address=address,
        organisation=fields.text("organisation", max_characters=NAME_MAX_CHARACTERS),
        issuer=fields.blob("issuer", max_bytes=CERTIFICATE_MAX_BYTES),
        certificate=fields.blob("certificate", max_bytes=CERTIFICATE_MAX_BYTES),
        seed=fields.exact("seed", ED25519_KEY_BYTES),
    )
    fields.end()
    return invitation
