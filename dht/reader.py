"""Reads records, and remembers which bytes were found good, so that no signature is checked twice.

An answer of 20 contacts that are all known costs 20 dictionary look-ups instead of 20 signature checks (137 us
each) and certificate checks (340 us each).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from core.errors import StaleRecordError
from core.identity import read_certificate
from core.ports import Clock, Identity
from dht.records import Record, parse_with

# A record and its parts take about 2 KiB: at most 24 MiB, enough for 10,000 peers (``DhtConfig.peers_max``) and more.
RECORDS_CACHED_MAX = 12_288
# About 1.5 KiB each.
CERTIFICATES_CACHED_MAX = 12_288
# A certificate's end is noticed within an hour here; TLS notices it at the next handshake.
CERTIFICATE_RECHECK_S = 3600.0


class _Believed(NamedTuple):
    """A certificate that was found good."""

    identity: Identity
    key: bytes
    issuer: bytes
    checked_s: float

    def still_good(self, issuers: Mapping[str, bytes], now: float) -> bool:
        recent = 0 <= now - self.checked_s < CERTIFICATE_RECHECK_S
        return recent and issuers.get(self.identity.organisation) == self.issuer


class RecordReader:
    """``parse_record`` with a bounded memory. Not for use from several threads at once."""

    def __init__(
        self,
        issuers: Callable[[], Mapping[str, bytes]],
        clock: Clock,
        *,
        records_max: int = RECORDS_CACHED_MAX,
        certificates_max: int = CERTIFICATES_CACHED_MAX,
    ) -> None:
        self._issuers = issuers
        self._clock = clock
        self._records: OrderedDict[bytes, tuple[Record, bytes]] = OrderedDict()
        self._certificates: OrderedDict[bytes, _Believed] = OrderedDict()
        self._records_max = records_max
        self._certificates_max = certificates_max
        self.checked = 0
        """Records whose signature was checked."""

    def read(self, raw: bytes) -> Record:
        """A record that may be believed now; raises as ``parse_record`` does."""
        now, issuers = self._clock.now(), self._issuers()
        held = self._records.get(raw)
        if held is not None:
            record, issuer = held
            # Another roster may have dropped or replaced the organisation since.
            if issuers.get(record.identity.organisation) == issuer:
                if now >= record.expires_s:
                    raise StaleRecordError(f"record expired at {record.expires_s}")
                self._records.move_to_end(raw)
                return record
            del self._records[raw]
        self.checked += 1
        record = parse_with(raw, lambda certificate: self._believe(certificate, issuers, now), now)
        self._records[raw] = record, issuers[record.identity.organisation]
        if len(self._records) > self._records_max:
            self._records.popitem(last=False)
        return record

    def _believe(self, certificate: bytes, issuers: Mapping[str, bytes], now: float) -> tuple[Identity, bytes]:
        held = self._certificates.get(certificate)
        if held is not None and held.still_good(issuers, now):
            self._certificates.move_to_end(certificate)
            return held.identity, held.key
        identity, key = read_certificate(certificate, issuers, now=now)
        self._certificates[certificate] = _Believed(identity, key, issuers[identity.organisation], now)
        if len(self._certificates) > self._certificates_max:
            self._certificates.popitem(last=False)
        return identity, key
