"""What a ledger peer serves over HTTP: its witness (c2sp.org/tlog-witness) and its log (c2sp.org/tlog-tiles).

| request | answer |
|---|---|
| POST /witness/add-checkpoint | to peers: 200 and signature lines, or 400, 403, 404, 409, 422; 503: it may not sign |
| GET /witness/HASH/checkpoint | the newest checkpoint that it cosigned for the log whose origin has this SHA-256 |
| GET /log/HASH/checkpoint | the checkpoint that a quorum has cosigned |
| GET /log/HASH/tile/... | a tile or bundle, partial ones behind ``.p/W`` |
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from anchor.files import disk_errors, read_file
from anchor.note import NOTE_MAX_BYTES
from anchor.tiles import BUNDLE_MAX_BYTES
from anchor.witness import parse_add_checkpoint
from core.errors import LedgerError, WitnessRefusedError
from core.ports import Disk, Threads
from daemon.web import plain
from daemon.witnessdesk import WitnessDesk
from wire.web import BINARY, TEXT, TLOG_SIZE, WebAnswer, WebRequest

WITNESS_PATH = "/witness"
LOG_PATH = "/log"
ADD_CHECKPOINT = f"{WITNESS_PATH}/add-checkpoint"
# A checkpoint changes several times a second; a tile of this name never does.
_CHECKPOINT_HEADERS: Mapping[str, str] = {"content-type": TEXT, "cache-control": "no-store"}
_TILE_HEADERS: Mapping[str, str] = {"content-type": BINARY, "cache-control": "public, max-age=31536000, immutable"}
_INDEX = r"(?:x\d{3}/)*\d{3}(?:\.p/(?:[1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]))?"
_LEVEL = r"(?:entries|\d|[1-5]\d|6[0-3])"
_WITNESSED = re.compile(rf"{WITNESS_PATH}/(?P<log>[0-9a-f]{{64}})/checkpoint", re.ASCII)
_PUBLISHED = re.compile(rf"{LOG_PATH}/(?P<log>[0-9a-f]{{64}})/(?P<file>checkpoint|tile/{_LEVEL}/{_INDEX})", re.ASCII)


class LedgerWeb:
    """Answers requests. ``witness`` is None for a peer that may not sign: the rest goes on.

    Args:
        folder: where logs lie, as ``anchor.writer.LogWriter`` has it.
    """

    def __init__(self, disk: Disk, folder: str, threads: Threads) -> None:
        self._disk = disk
        self._folder = folder
        self._threads = threads
        self.witness: WitnessDesk | None = None

    async def answer(self, request: WebRequest) -> WebAnswer:
        """Raises LedgerError and its like for a disk that fails."""
        if request.target == ADD_CHECKPOINT:
            if request.method != "POST":
                return plain(405, "POST only")
            # Log operators are peers; a client has nothing to have cosigned here, and each signature costs a sync.
            return await self._add(request) if request.asker.role == "peer" else plain(403, "for peers only")
        if request.method not in ("GET", "HEAD"):
            return plain(405, "GET only")
        if match := _WITNESSED.fullmatch(request.target):
            data = await self.witness.remembered(match["log"]) if self.witness is not None else None
            return _found(data, _CHECKPOINT_HEADERS)
        if match := _PUBLISHED.fullmatch(request.target):
            data = await self._threads.disk(self._read, f"{self._folder}/{match['log']}/{match['file']}")
            return _found(data, _CHECKPOINT_HEADERS if match["file"] == "checkpoint" else _TILE_HEADERS)
        return plain(404, "nothing is here")

    async def _add(self, request: WebRequest) -> WebAnswer:
        if self.witness is None:
            return plain(503, "this witness may not sign now: its organisation has to look after it")
        try:
            lines = await self.witness.add_checkpoint(parse_add_checkpoint(request.body))
        except WitnessRefusedError as error:
            if error.status == 409 and error.witness_size is not None:
                return WebAnswer(409, f"{error.witness_size}\n".encode(), {"content-type": TLOG_SIZE})
            return plain(error.status, str(error))
        except LedgerError as error:
            return plain(503, str(error))
        return WebAnswer(200, lines.encode(), {"content-type": TEXT})

    def _read(self, path: str) -> bytes | None:
        with disk_errors("log"):
            data = read_file(self._disk, path)
        return data if data is None or len(data) <= max(NOTE_MAX_BYTES, BUNDLE_MAX_BYTES) else None


def is_large(request: WebRequest) -> bool:
    """Whether the answer may be a tile or a bundle."""
    return request.target.startswith(f"{LOG_PATH}/") and not request.target.endswith("/checkpoint")


def _found(data: bytes | None, headers: Mapping[str, str]) -> WebAnswer:
    return plain(404, "there is none") if data is None else WebAnswer(200, data, headers)
