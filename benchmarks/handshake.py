"""What a handshake costs both ends together, in full as moorage does it and resumed from a ticket (ADR 13).

python -m benchmarks.handshake [--rounds N]
"""

from __future__ import annotations

import argparse
import ssl
import statistics
import time

from benchmarks.line import Papers, make_papers
from core.identity import key_from_seed
from host.tls import Contexts

BATCH = 50


def contexts_of(papers: Papers) -> Contexts:
    return Contexts(papers.certificate, key_from_seed(papers.seed), [papers.issuer])


def shake_hands(
    connecting: ssl.SSLContext, accepting: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLSession | None:
    """One handshake over buffers; the session that a next one may resume."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = connecting.wrap_bio(to_client, to_server, session=session)
    server = accepting.wrap_bio(to_server, to_client, server_side=True)
    left = [client, server]
    while left:
        for side in tuple(left):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            left.remove(side)
    # Tickets come with the first bytes behind the handshake.
    server.write(b"\1")
    assert client.read(1) == b"\1"
    assert client.session_reused is (session is not None)
    return client.session


def handshake_s(connecting: ssl.SSLContext, accepting: ssl.SSLContext, *, resumed: bool) -> float:
    """CPU time of one, the mean of BATCH."""
    session = shake_hands(connecting, accepting, None) if resumed else None
    began = time.process_time()
    for _ in range(BATCH):
        after = shake_hands(connecting, accepting, session)
        session = after if resumed else None
    return (time.process_time() - began) / BATCH


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handshake")
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    client, peer = make_papers()
    connecting, accepting = contexts_of(client).connecting, contexts_of(peer).accepting
    found: dict[str, list[float]] = {"full": [], "resumed": []}
    for _ in range(rounds):
        for name, series in found.items():
            # What host.tls turns off.
            accepting.num_tickets = 1 if name == "resumed" else 0
            series.append(1000 * handshake_s(connecting, accepting, resumed=name == "resumed"))
    for name, series in found.items():
        print(f"{name:8} {statistics.median(series):.2f} ms of CPU ({min(series):.2f} to {max(series):.2f})")


if __name__ == "__main__":
    main()
