"""An object as a peer knows it: the manifest that was checked against its name, and the papers as files."""

from __future__ import annotations

from dataclasses import dataclass, field

from anchor.manifest import Manifest
from core.ids import ObjectId


@dataclass(frozen=True, slots=True)
class Subject:
    """``receipt_file`` is None while nobody has a receipt: the object is still being put, or never was finished."""

    object: ObjectId
    manifest: Manifest
    manifest_file: bytes = field(repr=False)
    receipt_file: bytes | None = field(repr=False)
