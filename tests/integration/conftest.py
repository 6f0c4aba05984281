"""Pools that tests share. Each test leaves its pool whole; the ``pool`` fixture starts what does not run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.pool import Pool, random_file


@pytest.fixture(scope="session")
def shared_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    made = Pool(tmp_path_factory.mktemp("pool"))
    try:
        made.up()
        yield made
    finally:
        made.destroy()


@pytest.fixture
def pool(shared_pool: Pool) -> Iterator[Pool]:
    """Six peers at three sites, 4+2, shared by all tests of a worker, all running at the start."""
    if any(shared_pool.pid(name) is None for name in shared_pool.names):
        shared_pool.up()
    yield shared_pool
    shared_pool.abandon()


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    """Pools of one test alone, running: ``make_pool(peers=9, sites=3, scheme="4+2")``."""
    made: list[Pool] = []

    def make(*, peers: int = 6, sites: int | None = 3, scheme: str = "4+2", up: bool = True) -> Pool:
        pool = Pool(tmp_path / f"pool-{len(made)}", peers=peers, sites=sites, scheme=scheme)
        made.append(pool)
        if up:
            pool.up()
        return pool

    try:
        yield make
    finally:
        for pool in made:
            pool.destroy()


@pytest.fixture
def blob(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """3 MB of random bytes that no other test stores."""
    return random_file(tmp_path / f"{request.node.name}.bin", 3_000_000)
