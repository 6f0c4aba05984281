from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Self

from securesystemslib.signer import Key, Signature
from tuf.api.serialization.json import JSONSerializer

class Signed:
    type: ClassVar[str]
    version: int
    expires: datetime

class Role:
    def __init__(self, keyids: list[str], threshold: int) -> None: ...

class Root(Signed):
    keys: dict[str, Key]
    roles: dict[str, Role]
    def __init__(
        self,
        version: int | None = ...,
        spec_version: str | None = ...,
        expires: datetime | None = ...,
        keys: dict[str, Key] | None = ...,
        roles: dict[str, Role] | None = ...,
        consistent_snapshot: bool | None = ...,
    ) -> None: ...
    def verify_delegate(self, delegated_role: str, payload: bytes, signatures: Mapping[str, Signature]) -> None: ...

class MetaFile:
    def __init__(self, version: int = ...) -> None: ...

class TargetFile:
    length: int
    hashes: dict[str, str]
    def __init__(self, length: int, hashes: dict[str, str], path: str) -> None: ...

class Targets(Signed):
    targets: dict[str, TargetFile]
    def __init__(
        self,
        version: int | None = ...,
        spec_version: str | None = ...,
        expires: datetime | None = ...,
        targets: dict[str, TargetFile] | None = ...,
    ) -> None: ...

class Snapshot(Signed):
    def __init__(
        self,
        version: int | None = ...,
        spec_version: str | None = ...,
        expires: datetime | None = ...,
        meta: dict[str, MetaFile] | None = ...,
    ) -> None: ...

class Timestamp(Signed):
    def __init__(
        self,
        version: int | None = ...,
        spec_version: str | None = ...,
        expires: datetime | None = ...,
        snapshot_meta: MetaFile | None = ...,
    ) -> None: ...

class Metadata:
    signed: Signed
    signatures: dict[str, Signature]
    def __init__(self, signed: Signed, signatures: dict[str, Signature] | None = ...) -> None: ...
    @classmethod
    def from_bytes(cls, data: bytes) -> Self: ...
    def to_bytes(self, serializer: JSONSerializer | None = ...) -> bytes: ...
