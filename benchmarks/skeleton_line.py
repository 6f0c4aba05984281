"""A line for the skeleton: mutual TLS and the messages of the shipped program, over a blocking socket."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import cast

from host.pump import RECEIVE_BYTES, RECORD_BYTES, SEND_BYTES
from wire.frames import FrameParser, frame_prefix
from wire.messages import Message, message_head, parse_message


class BlockingLine:
    """Calls return when they are done; errors are OSErrors. One thread at a time."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._scratch = memoryview(bytearray(RECEIVE_BYTES))
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._pull()
            else:
                break
        self._flush()

    def close(self) -> None:
        self._socket.close()

    def send(self, message: Message) -> None:
        body = memoryview(message.body_of()).cast("B")
        self._tls.write(frame_prefix(message_head(1, message), len(body)))
        for at in range(0, len(body), SEND_BYTES):
            self._tls.write(body[at : at + SEND_BYTES])
            self._flush()
        self._flush()

    def messages(self) -> Iterator[Message]:
        """As they come."""
        parser = FrameParser()
        while True:
            for frame in parser.took(self._receive_into(parser.room(), parser.expected_bytes)):
                yield parse_message(frame)[1]

    def _receive_into(self, target: memoryview, expected_bytes: int) -> int:
        # One record at most comes at a time. With a buffer it returns their number, unlike its type stub says.
        read = cast(Callable[[int, memoryview], int], self._tls.read)
        have = 0
        while have < min(len(target), expected_bytes):
            try:
                have += read(RECORD_BYTES, target[have : have + RECORD_BYTES])
            except ssl.SSLWantReadError:
                self._pull()
        return have

    def _pull(self) -> None:
        count = self._socket.recv_into(self._scratch)
        if not count:
            raise ConnectionError("the other end of the line is gone")
        self._incoming.write(self._scratch[:count])

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._socket.sendall(self._outgoing.read())
