"""The handshakes that are compared are the two that they are said to be."""

from __future__ import annotations

import ssl

import pytest

from benchmarks.handshake import contexts_of, handshake_s, shake_hands
from benchmarks.line import make_papers


def test_a_handshake_is_resumed_from_a_ticket_and_else_done_in_full() -> None:
    client, peer = make_papers()
    connecting, accepting = contexts_of(client).connecting, contexts_of(peer).accepting
    accepting.num_tickets = 1
    session = shake_hands(connecting, accepting, None)
    assert session is not None
    assert session.has_ticket
    shake_hands(connecting, accepting, session)
    assert handshake_s(connecting, accepting, resumed=True) > 0


def test_the_shipped_contexts_give_no_ticket() -> None:
    client, peer = make_papers()
    connecting, accepting = contexts_of(client).connecting, contexts_of(peer).accepting
    session = shake_hands(connecting, accepting, None)
    assert session is None or not session.has_ticket
    if session is not None:
        with pytest.raises((ssl.SSLError, AssertionError)):
            shake_hands(connecting, accepting, session)
