"""The shortest way through a root chain: what a receipt takes to prove its roster's last root from the pool's first.

Root M is proved by an earlier root J when a threshold of J's keys and one of M's own signed it, whatever lies between
("skipping verification", as Tendermint's light clients do). Who holds a threshold of J's keys could have signed
another J+1 and all after it, so a reader who knows nothing later than J loses little by it: see docs/ledger/roster.md,
"A receipt stands on the roster that it carries". Files that peers exchange have every root; this is for receipts.

Without TUF's library, which takes a tenth of a second to load: the chain is the home's, verified when it was accepted.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, NamedTuple, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from anchor.organisation import byzantine_majority
from anchor.rosterfile import RosterFile, canonical_json
from anchor.rosterparts import parse_ledger
from core.errors import BadSignatureError, MalformedError


class _Metadata(NamedTuple):
    """One file of metadata: what is signed, its keys (roots only), and who signed, all by key id."""

    signed: dict[str, Any]
    keys: dict[str, bytes]
    signatures: dict[str, str]

    @property
    def threshold(self) -> int:
        return byzantine_majority(len(self.keys))


def _read(data: bytes) -> _Metadata:
    """Raises MalformedError."""
    try:
        value: Any = json.loads(data)
        signed = cast("dict[str, Any]", value["signed"])
        keys = {str(key): bytes.fromhex(row["keyval"]["public"]) for key, row in signed.get("keys", {}).items()}
        signatures = {str(row["keyid"]): str(row["sig"]) for row in value["signatures"]}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedError(f"roster: not metadata of TUF: {error}") from error
    return _Metadata(signed, keys, signatures)


def _write(metadata: _Metadata, signers: Collection[str]) -> bytes:
    """In the form of ``anchor.rootchain``: compact, sorted, signatures by key id."""
    signatures = [{"keyid": key, "sig": metadata.signatures[key]} for key in sorted(signers)]
    value = {"signatures": signatures, "signed": metadata.signed}
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _signers(metadata: _Metadata, keys: Mapping[str, bytes]) -> AbstractSet[str]:
    """Those of ``keys`` whose signature holds: a roster may come with others beyond its threshold."""
    payload = canonical_json(metadata.signed)
    good: set[str] = set()
    for key in metadata.signatures.keys() & keys.keys():
        try:
            public = Ed25519PublicKey.from_public_bytes(keys[key])
            public.verify(bytes.fromhex(metadata.signatures[key]), payload)
        except (InvalidSignature, ValueError):
            continue
        good.add(key)
    return good


class _Chain:
    """Roots in the order of their versions; the signatures of one are verified once, when somebody asks."""

    def __init__(self, roots: Sequence[bytes]) -> None:
        self.roots = [_read(data) for data in roots]
        self._keys = {key: public for root in self.roots for key, public in root.keys.items()}
        self._good: dict[int, AbstractSet[str]] = {}

    def good(self, number: int) -> AbstractSet[str]:
        if number not in self._good:
            self._good[number] = _signers(self.roots[number], self._keys)
        return self._good[number]

    def proves(self, old: int, new: int) -> bool:
        # Who claims to have signed is looked at first: most pairs fail by that.
        return self._enough(old, new, self.roots[new].signatures.keys()) and self._enough(old, new, self.good(new))

    def _enough(self, old: int, new: int, signers: AbstractSet[str]) -> bool:
        return all(len(signers & root.keys.keys()) >= root.threshold for root in (self.roots[old], self.roots[new]))

    def path(self) -> list[int]:
        """A way with the fewest roots from the first to the last: breadth first. Raises BadSignatureError."""
        last = len(self.roots) - 1
        came_from, queue = {0: 0}, deque([0])
        while queue and last not in came_from:
            old = queue.popleft()
            # The latest first: its members are most like the last one's.
            for new in range(last, old, -1):
                if new not in came_from and self.proves(old, new):
                    came_from[new] = old
                    queue.append(new)
                    if new == last:
                        break
        if last not in came_from:
            raise BadSignatureError("roster: its root metadata does not lead from the first to the last")
        way = [last]
        while way[-1]:
            way.append(came_from[way[-1]])
        return way[::-1]

    def step(self, old: int | None, new: int) -> bytes:
        """Root ``new`` with as few signatures as the step from ``old`` takes. Raises BadSignatureError."""
        root = self.roots[new]
        sides = [root] if old is None else [root, self.roots[old]]
        return _write(root, _fewest(self.good(new), sides))


def _fewest(good: AbstractSet[str], sides: Sequence[_Metadata]) -> set[str]:
    """The fewest of these key ids that are a threshold of each side. Raises BadSignatureError."""
    # Those who count on both sides come first.
    ordered = sorted(good, key=lambda key: (-sum(key in side.keys for side in sides), key))
    chosen: set[str] = set()
    for key in ordered:
        if any(key in side.keys and len(chosen & side.keys.keys()) < side.threshold for side in sides):
            chosen.add(key)
    if any(len(chosen & side.keys.keys()) < side.threshold for side in sides):
        raise BadSignatureError("roster: too few signatures of its metadata hold")
    return chosen


def for_receipt(file: RosterFile, cosigners: Collection[str]) -> RosterFile:
    """What a receipt carries of a roster: all that verifying takes, and little more.

    ``cosigners``: names of the witnesses whose cosignatures the receipt has. Raises as ``shortest_proof``.
    """
    organisations = parse_ledger(file.ledger)[2]
    keys = [
        key if item.member is not None and item.member.witness_name in cosigners else b""
        for key, item in zip(file.witness_keys, organisations, strict=True)
    ]
    roots, targets = shortest_proof(file.roots, file.targets)
    return RosterFile(roots, targets, b"", b"", file.ledger, tuple(keys), b"")


# A put of many objects makes as many receipts under one roster.
@lru_cache(maxsize=4)
def shortest_proof(roots: tuple[bytes, ...], targets: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """The fewest roots, and of each and of ``targets`` the fewest signatures, that prove the last version.

    ``roots`` are a chain that ``anchor.rootchain.verify_chain`` accepts. A millisecond where the founder still signs;
    where nobody signs for long, the time grows with the square: 3 s for a thousand versions of one member who has
    another key in each.

    Raises:
        MalformedError: not TUF metadata.
        BadSignatureError: they are no such chain.
    """
    chain = _Chain(roots)
    way = chain.path()
    steps = [chain.step(old, new) for old, new in zip([None, *way], way, strict=False)]
    metadata, last = _read(targets), chain.roots[-1]
    return tuple(steps), _write(metadata, _fewest(_signers(metadata, last.keys), [last]))
