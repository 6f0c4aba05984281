"""Write into another user's folder as that user."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def as_owner_of(path: str) -> Generator[None, None, None]:
    """What root writes in here belongs to the owner of ``path``, who could not read it otherwise.

    Of the whole process: for commands of one thread. Raises OSError (there is no such file).
    """
    owner = os.stat(path)
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    try:
        os.seteuid(owner.st_uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
