"""The daemon's own certificate: a renewed one is taken up while it runs, and its end is announced in the log."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import trio

from client.certificates import DAY_S, WARNING_DAYS, check_same
from client.home import Home, read_home_certificate
from core.errors import MoorageError
from core.identity import certificate_end_s, read_certificate
from core.ports import Ports
from daemon.eventlog import EventLog

# A person has just put it there and waits; a look reads one small file.
LOOK_EVERY_S = 10.0
WARN_EVERY_S = DAY_S
UNREADABLE = b"unreadable"


class CertificateKeeper:
    """``run`` it for as long as the daemon lives; ``changed`` is called when the home shows another certificate."""

    def __init__(self, ports: Ports, home: Home, log: EventLog, changed: Callable[[], None]) -> None:
        self._ports = ports
        self._home = home
        self._log = log
        self._changed = changed
        self._refused = b""
        """The last one that was not taken, so that it is complained of once."""
        self._warn_at = -inf

    async def run(self) -> None:
        while True:
            await self._look()
            self._warn()
            await trio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        found = UNREADABLE
        try:
            found = await self._ports.threads.disk(read_home_certificate, self._ports.disk, self._home.folder)
            if found in (self._home.certificate, self._refused):
                return
            identity, _ = read_certificate(found, self._home.roster.issuers, now=self._ports.clock.now())
            check_same(self._home.identity, identity)
        except MoorageError as error:
            if found != self._refused:
                self._refused = found
                self._log.log("error", "certificate-refused", f"{error}: the one of before is shown on")
            return
        self._refused = b""
        self._home.shown.der = found
        self._warn_at = -inf
        days = (certificate_end_s(found) - self._ports.clock.now()) / DAY_S
        self._log.log("info", "certificate", f"a renewed certificate is in use, valid for {days:.0f} days")
        self._changed()

    def _warn(self) -> None:
        left_s = certificate_end_s(self._home.certificate) - self._ports.clock.now()
        if left_s > WARNING_DAYS * DAY_S or trio.current_time() < self._warn_at:
            return
        self._warn_at = trio.current_time() + WARN_EVERY_S
        words = "has ended: nobody lets us in" if left_s <= 0 else f"ends in {left_s / DAY_S:.0f} days"
        self._log.log("warning", "certificate-ends", f"our certificate {words}: `moorage certificate renew`")
