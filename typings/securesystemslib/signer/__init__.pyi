class Signature:
    def __init__(self, keyid: str, sig: str) -> None: ...
    keyid: str
    signature: str

class Key:
    keyid: str
    keyval: dict[str, object]
    def verify_signature(self, signature: Signature, data: bytes) -> None: ...

class SSlibKey(Key):
    def __init__(self, keyid: str, keytype: str, scheme: str, keyval: dict[str, str]) -> None: ...
