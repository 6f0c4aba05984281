"""One run of a node, from its start to its crash."""

from __future__ import annotations


class NodeDead(BaseException):
    """Raised by every port of a node that crashed.

    Not an Exception, and raised at every further call: what a program does in ``finally`` or ``except Exception``
    cannot reach the world any more, as after a real power cut.
    """


class Life:
    """Shared by all ports of one run of a node."""

    __slots__ = ("dead",)

    def __init__(self) -> None:
        self.dead = False

    def check(self) -> None:
        if self.dead:
            raise NodeDead

    def end(self) -> None:
        self.dead = True
