"""Sweeps and repairs over real stores: each fault becomes exactly its finding, and is gone afterwards."""

from __future__ import annotations

from client.care import CareReport, parse_report
from client.health import Health
from client.verify import examine
from core.findings import FindingKind
from core.ids import PeerId
from tests.daemon.care_pool import CarePool, Put
from wire.messages import Job


def report_of(job: Job) -> CareReport:
    assert job.finished
    return parse_report(bytes(job.body))


async def health(pool: CarePool, put: Put, *, full: bool = True) -> Health:
    view = pool.view()
    threads, chance = pool.ports.threads, pool.ports.chance
    return (await examine(view, view, threads, chance, put.object, put.manifest, full=full)).health


async def test_a_whole_object_is_full_and_nothing_is_written(autojump_clock: object) -> None:
    pool = CarePool()
    put = pool.put()
    assert await health(pool, put) is Health.FULL
    async with pool.caring():
        report = report_of(await pool.job("peer-1"))
    assert (report.checked, report.findings, report.repairs, report.unrepaired) == (1, (), (), 0)
    assert pool.sent_bytes == 0
    assert pool.everything_is_whole(put)
