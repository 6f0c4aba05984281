from tuf.api.metadata import Signed

class JSONSerializer:
    def __init__(self, compact: bool = ...) -> None: ...

class CanonicalJSONSerializer:
    def serialize(self, signed_obj: Signed) -> bytes: ...
