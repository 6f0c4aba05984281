"""A monitor's folder: what it saw of each log, and the evidence of what is wrong. Blocks: use it in disk jobs.

``<state>/<SHA-256 of the origin>/view``, ``<state>/evidence/<alarm>/`` and ``<state>/past/<alarm>/``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from anchor.evidence import ALARM_FILE, EVIDENCE_MAX_BYTES, Evidence, parse_evidence
from anchor.monitor import VIEW_MAX_BYTES, View, encode_view, parse_view
from anchor.witness import origin_folder
from core.durable import read_file, remove_parts, write_file
from core.errors import LedgerError, MalformedError
from core.ports import Chance, Disk

VIEW_FILE = "view"
EVIDENCE_FOLDER = "evidence"
PAST_FOLDER = "past"
STANDING_MAX = 1000


def read_evidence(disk: Disk, folder: str) -> Evidence:
    """The evidence in a folder. Raises MalformedError, LedgerError (the disk)."""
    files: dict[str, bytes] = {}
    try:
        for name in disk.list_folder(folder)[:32]:
            data = read_file(disk, posixpath.join(folder, name), max_bytes=EVIDENCE_MAX_BYTES)
            if data is not None and len(data) <= EVIDENCE_MAX_BYTES:
                files[name] = data
    except OSError as error:
        raise LedgerError(f"{folder} cannot be read: {error.strerror}") from error
    return parse_evidence(files)


class MonitorState:
    """One monitor at a time uses it: ``lock``."""

    def __init__(self, disk: Disk, chance: Chance, folder: str) -> None:
        self.folder = folder
        self._disk = disk
        self._chance = chance

    def view(self, origin: str) -> View:
        """What was seen of a log; empty at first. Raises LedgerError: a monitor that forgot would miss a fork."""
        path = self._view_path(origin)
        data = read_file(self._disk, path, max_bytes=VIEW_MAX_BYTES)
        if data is None:
            return View()
        try:
            return parse_view(data)
        except MalformedError as error:
            raise LedgerError(
                f"{path} is damaged ({error}): restore it, or remove it to read the log from its beginning, trusting "
                "what is served now"
            ) from error

    def keep(self, origin: str, view: View) -> None:
        """Durably; evidence of what is wrong in it comes first."""
        path = self._view_path(origin)
        self._disk.make_folders(posixpath.dirname(path))
        remove_parts(self._disk, posixpath.dirname(path))
        write_file(self._disk, path, encode_view(view), token=self._chance.token(4).hex())

    def raise_alarm(self, evidence: Evidence) -> str:
        """Keep evidence durably; its folder. The same misdeed has one folder, however often it is seen."""
        base = posixpath.join(self.folder, EVIDENCE_FOLDER)
        folder = posixpath.join(base, evidence.name)
        if self._disk.stat(posixpath.join(folder, ALARM_FILE)) is None:
            self._disk.make_folders(folder)
            remove_parts(self._disk, folder)
            for name, data in evidence.files().items():
                write_file(self._disk, posixpath.join(folder, name), data, token=self._chance.token(4).hex())
        else:
            # Whoever wrote it may have died before its names were durable, and the view is to go beyond it.
            for known in (folder, base, self.folder):
                self._disk.sync_folder(known)
        return folder

    def standing(self) -> list[tuple[str, Evidence]]:
        """Alarms that nobody has taken away, with their folders."""
        base = posixpath.join(self.folder, EVIDENCE_FOLDER)
        found: list[tuple[str, Evidence]] = []
        for name in self._disk.list_folder(base)[:STANDING_MAX]:
            folder = posixpath.join(base, name)
            if self._disk.stat(posixpath.join(folder, ALARM_FILE)) is not None:
                found.append((folder, read_evidence(self._disk, folder)))
        return found

    def settle(self, origin: str, raised: Sequence[str]) -> None:
        """Put away alarms of this log that passed: those that end by themselves and were not raised again."""
        for folder, evidence in self.standing():
            if evidence.origin == origin and evidence.kind.passes and folder not in raised:
                past = posixpath.join(self.folder, PAST_FOLDER)
                self._disk.make_folders(past)
                name = f"{posixpath.basename(folder)}-{self._chance.token(4).hex()}"
                self._disk.rename(folder, posixpath.join(past, name))
                self._disk.sync_folder(past)
                self._disk.sync_folder(posixpath.dirname(folder))

    def _view_path(self, origin: str) -> str:
        return posixpath.join(origin_folder(self.folder, origin), VIEW_FILE)
