"""How much a socket has moved: by it a thin line is told from a dead one."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios


class CountedSocket:
    """A connected socket that does not block, and what passed through it; others may wait for it and close it."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sent_bytes = 0
        self._come_bytes = 0
        self._moved_bytes = 0

    def send(self, data: memoryview) -> int:
        """How many bytes the system took. Raises OSError; BlockingIOError when it has no room."""
        count = self._socket.send(data)
        self._sent_bytes += count
        return count

    def receive_into(self, room: memoryview) -> int:
        """How many bytes there were, 0 at their end. Raises OSError; BlockingIOError when none have come yet."""
        count = self._socket.recv_into(room)
        self._come_bytes += count
        return count

    @property
    def moved_bytes(self) -> int:
        """As ``core.ports.Connection`` says; what TLS adds counts too."""
        # Before the system is asked: what a worker thread sends meanwhile must not count as taken.
        sent_bytes = self._sent_bytes
        self._moved_bytes = max(self._moved_bytes, self._come_bytes + sent_bytes - self._untaken_bytes())
        return self._moved_bytes

    def _untaken_bytes(self) -> int:
        """What lies in the send buffer because the other side's system has not acknowledged it (tcp(7), SIOCOUTQ).

        0 where the system cannot tell: there, what it took from us counts as taken.
        """
        if self._socket.fileno() < 0:
            return 0
        try:
            answer = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4))
        except OSError:
            return 0
        return int.from_bytes(answer, sys.byteorder)
