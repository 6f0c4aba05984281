"""Every failure a user or an operator can meet, in one file.

``code`` is a stable word for logs, JSON output, the wire and dashboards: texts may change, codes may not.
``exit_status`` is what the command line returns for it. Anything else that escapes is a bug.
"""

from __future__ import annotations

from typing import ClassVar, cast

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_INTEGRITY = 4
EXIT_NOT_ENOUGH_PEERS = 5
EXIT_REFUSED = 6
EXIT_TRY_AGAIN = 75


class MoorageError(Exception):
    """Base of all expected failures. The text says what happened and what to do."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = EXIT_ERROR


# --- what the user asked for -----------------------------------------------------------------


class UsageError(MoorageError):
    """The command's words do not make sense together."""

    code = "usage"
    exit_status = EXIT_USAGE


class MalformedIdError(UsageError):
    """An identifier has the wrong length or alphabet."""

    code = "malformed-id"


class SettingsError(UsageError):
    """A settings file has an unknown key or an impossible value."""

    code = "bad-settings"


class UnknownObjectError(MoorageError):
    """No object of this id is in the catalogue or on the peers that were asked."""

    code = "unknown-object"


class AmbiguousObjectError(UsageError):
    """Several objects begin with the id that was given."""

    code = "ambiguous-object"


class NotInObjectError(MoorageError):
    """The object has no file of that path."""

    code = "not-in-object"


class SourceError(MoorageError):
    """A path to be stored is missing, unreadable, empty or neither file, folder nor link."""

    code = "bad-source"


class SourceChangedError(MoorageError):
    """A file changed while it was being read. Nothing was stored; put it again when it is at rest."""

    code = "source-changed"
    exit_status = EXIT_TRY_AGAIN


class TargetError(MoorageError):
    """A file cannot be restored to where it was asked for."""

    code = "bad-target"


class HomeError(MoorageError):
    """A home folder is missing, lacks its keys, or is in use by another process."""

    code = "bad-home"


class LocalDiskError(MoorageError):
    """This machine's own disk refused: it is full, read-only, sick, or not ours. What was acknowledged stays."""

    code = "local-disk"


# --- bytes that are not what they should be --------------------------------------------------


class MalformedError(MoorageError):
    """Bytes do not parse as what they were said to be. Never retried with the same bytes."""

    code = "malformed"
    exit_status = EXIT_INTEGRITY


class NewerVersionError(MalformedError):
    """The bytes are of a format version that this release does not know. Upgrade moorage to read them."""

    code = "newer-version"


class CorruptError(MoorageError):
    """Bytes do not match the digest or tag that names them."""

    code = "corrupt"
    exit_status = EXIT_INTEGRITY


class BadSignatureError(MoorageError):
    """A signature, cosignature or certificate does not verify under the roster."""

    code = "bad-signature"
    exit_status = EXIT_INTEGRITY


class ReceiptError(MoorageError):
    """A receipt does not prove what it claims."""

    code = "bad-receipt"
    exit_status = EXIT_INTEGRITY


class RosterError(MoorageError):
    """A roster is another pool's, replayed, expired, or a second history of a version. Nothing changes by it."""

    code = "bad-roster"
    exit_status = EXIT_INTEGRITY


class NotEnoughSharesError(MoorageError):
    """Fewer good shares than needed could be read."""

    code = "not-enough-shares"
    exit_status = EXIT_INTEGRITY


# --- peers ----------------------------------------------------------------------------------


class PeerUnavailableError(MoorageError):
    """A peer could not be reached, timed out or broke the connection. Try another, or again later."""

    code = "peer-unavailable"
    exit_status = EXIT_TRY_AGAIN


class PendingError(MoorageError):
    """Everything is stored, but no quorum of witnesses has cosigned it: nothing is anchored yet. Settle it later."""

    code = "pending"
    exit_status = EXIT_TRY_AGAIN


class PeerRefusedError(MoorageError):
    """A peer does not belong to this pool, or its certificate is expired, unknown or of the wrong kind."""

    code = "peer-refused"
    exit_status = EXIT_REFUSED


class StaleRecordError(MoorageError):
    """A signed record has expired, comes from the future, or is older than one that is held. Check both clocks."""

    code = "stale-record"


class ProtocolError(MoorageError):
    """A peer broke the protocol; its connection is closed."""

    code = "protocol"


class NotEnoughPeersError(MoorageError):
    """Too few peers or sites are there for the scheme."""

    code = "not-enough-peers"
    exit_status = EXIT_NOT_ENOUGH_PEERS


class NoSuchShardError(MoorageError):
    """The peer does not hold the shard (or manifest) that was asked for."""

    code = "no-such-shard"


class StoreFullError(MoorageError):
    """The peer's quota or its reserve of free space leaves no room."""

    code = "store-full"
    exit_status = EXIT_NOT_ENOUGH_PEERS


class StoreReadOnlyError(MoorageError):
    """The peer's disk refuses writes."""

    code = "store-read-only"
    exit_status = EXIT_NOT_ENOUGH_PEERS


class RefusedError(MoorageError):
    """A rule forbids it: a retention lock, a role, a limit."""

    code = "refused"
    exit_status = EXIT_REFUSED


class BusyError(MoorageError):
    """Too much at once; try again shortly."""

    code = "busy"
    exit_status = EXIT_TRY_AGAIN


# --- the ledger -----------------------------------------------------------------------------


class LedgerError(MoorageError):
    """The log's folder contradicts itself or its witness. Nothing more is signed until an operator looks."""

    code = "ledger"
    exit_status = EXIT_INTEGRITY


class WitnessRefusedError(LedgerError):
    """A witness does not cosign a checkpoint.

    ``status`` is the HTTP status that c2sp.org/tlog-witness assigns (400, 403, 404, 409, 422); ``witness_size`` comes
    with 409 and is the size of the largest tree that the witness has seen.
    """

    code = "witness-refused"

    def __init__(self, text: str, *, status: int = 422, witness_size: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.witness_size = witness_size


def _all_subclasses(cls: type[MoorageError]) -> list[type[MoorageError]]:
    found = [cls]
    for child in cls.__subclasses__():
        found += _all_subclasses(child)
    return found


def error_classes() -> dict[str, type[MoorageError]]:
    """All error classes by code: the table in docs/operations.md and errors sent by peers use it."""
    return {cls.code: cls for cls in _all_subclasses(MoorageError)}


def from_code(code: str, text: str) -> MoorageError:
    """The error that a peer reported, as the class of that code (``MoorageError`` for an unknown one)."""
    return error_classes().get(code, MoorageError)(text)


def leaves_of(error: BaseException) -> list[BaseException]:
    """What tasks that ran side by side failed of, each for itself; an error that is no group is its own leaf."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for inner in group.exceptions for leaf in leaves_of(inner)]
