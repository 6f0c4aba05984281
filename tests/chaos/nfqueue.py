"""Hold every packet of queue 0 back for a random time: ``python nfqueue.py LEAST_MS MOST_MS`` in a network namespace.

By libnetfilter_queue's C interface. Prints ``ready``, or why not.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import heapq
import random
import select
import socket
import sys
import time
from typing import Any

NF_ACCEPT = 1
COPY_META = 1
PACKET_MAX_BYTES = 1 << 16
QUEUE_MAX_PACKETS = 1 << 15


def main() -> int:
    least_s, most_s = (int(word) / 1000 for word in sys.argv[1:3])
    name = ctypes.util.find_library("netfilter_queue")
    if name is None:
        print("no libnetfilter_queue", flush=True)
        return 1
    library: Any = ctypes.CDLL(name, use_errno=True)
    library.nfq_open.restype = library.nfq_create_queue.restype = library.nfq_get_msg_packet_hdr.restype = (
        ctypes.c_void_p
    )
    held: list[tuple[float, int]] = []

    def arrived(_queue: int, _message: int, packet: int, _data: int) -> int:
        header = library.nfq_get_msg_packet_hdr(ctypes.c_void_p(packet))
        number = int.from_bytes(ctypes.string_at(header, 4), "big")
        heapq.heappush(held, (time.monotonic() + random.uniform(least_s, most_s), number))
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(arrived)
    handle = ctypes.c_void_p(library.nfq_open())
    queue = ctypes.c_void_p(library.nfq_create_queue(handle, 0, callback, None))
    if handle.value is None or queue.value is None or library.nfq_set_mode(queue, COPY_META, 0) < 0:
        print(f"errno {ctypes.get_errno()}", flush=True)
        return 1
    library.nfq_set_queue_maxlen(queue, QUEUE_MAX_PACKETS)
    descriptor = library.nfq_fd(handle)
    netlink = socket.socket(fileno=descriptor)
    netlink.setblocking(False)
    print("ready", flush=True)
    while True:
        wait_s = max(0.0, held[0][0] - time.monotonic()) if held else 1.0
        if select.select([netlink], [], [], wait_s)[0]:
            try:
                data = netlink.recv(PACKET_MAX_BYTES)
                library.nfq_handle_packet(handle, data, len(data))
            except OSError:
                # More came than its buffer holds: those are lost, as on a line.
                pass
        while held and held[0][0] <= time.monotonic():
            library.nfq_set_verdict(queue, heapq.heappop(held)[1], NF_ACCEPT, 0, None)


if __name__ == "__main__":
    sys.exit(main())
