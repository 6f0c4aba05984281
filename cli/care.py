"""verify, sweep and repair."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

import trio

from cli.clients import client_of
from cli.output import TerminalProgress, print_json, print_lines
from client.care import CareReport, care_for_objects, run_job
from client.context import Client
from client.health import Examination, Health
from client.locate import find_manifest
from client.verify import examine
from core.encoding import Value
from core.errors import EXIT_INTEGRITY, EXIT_OK, EXIT_PARTIAL
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId
from wire.messages import StartJob

HEALTH_EXIT = {
    Health.FULL: EXIT_OK,
    Health.DEGRADED: EXIT_PARTIAL,
    Health.CRITICAL: EXIT_INTEGRITY,
    Health.LOST: EXIT_INTEGRITY,
}
Names = Mapping[PeerId, str]


def names_of(client: Client) -> dict[PeerId, str]:
    return {record.identity.peer: record.identity.name for record in client.dht.known_peers()}


def finding_value(finding: Finding, names: Names) -> dict[str, Value]:
    """A finding with its holder's name."""
    value = finding.to_value()
    if finding.holder is not None and finding.holder in names:
        value["holder_name"] = names[finding.holder]
    return value


def finding_line(finding: Finding, names: Names) -> str:
    where = [] if finding.holder is None else [f"at {names.get(finding.holder, finding.holder.short)}"]
    where += [f"object {finding.object.short}"] if finding.object is not None else []
    numbers = (("extent", finding.extent), ("share", finding.share), ("chunk", finding.chunk))
    where += [f"{word} {number}" for word, number in numbers if number is not None]
    return f"  {finding.kind}: {', '.join(where)}{': ' if finding.detail else ''}{finding.detail}"


def run_verify(arguments: argparse.Namespace) -> int:
    examinations, names = trio.run(_verify, arguments)
    if arguments.json:
        print_json({"objects": [_examination_value(item, names) for item in examinations]})
    else:
        for item in examinations:
            print_lines(_examination_lines(item, names))
    return max(HEALTH_EXIT[item.health] for item in examinations)


async def _verify(arguments: argparse.Namespace) -> tuple[list[Examination], Names]:
    async with client_of(arguments) as client:
        await client.live_peers()
        found: list[Examination] = []
        for text in arguments.objects:
            object_id = client.memory.resolve(text)
            manifest = await find_manifest(client, object_id)
            found.append(
                await examine(
                    client.peers,
                    client.dht,
                    client.ports.threads,
                    client.ports.chance,
                    object_id,
                    manifest,
                    full=arguments.full,
                )
            )
        return found, names_of(client)


def _examination_value(item: Examination, names: Names) -> dict[str, Value]:
    return {
        "object": str(item.object),
        "health": item.health.value,
        "spare": item.spare,
        "scheme": str(item.scheme),
        "full": item.full,
        "checked_shards": item.checked_shards,
        "shards": len(item.states),
        "sampled_shares": item.sampled,
        "confidence": item.confidence_words,
        "spread": item.spread.words,
        "findings": [finding_value(finding, names) for finding in item.findings],
    }


def _examination_lines(item: Examination, names: Names) -> list[str]:
    lines = [
        f"object {item.object}: {item.health}, {item.spare} to spare; {item.confidence_words}; {item.spread.words}"
    ]
    return lines + [finding_line(finding, names) for finding in item.findings]


def run_sweep(arguments: argparse.Namespace) -> int:
    return _run_care(arguments, "sweep")


def run_repair(arguments: argparse.Namespace) -> int:
    return _run_care(arguments, "repair")


def _run_care(arguments: argparse.Namespace, job: str) -> int:
    report, names = trio.run(_care, arguments, job)
    if arguments.json:
        value: dict[str, Value] = {
            "checked": report.checked,
            "findings": [finding_value(finding, names) for finding in report.findings],
            "unrepaired": report.unrepaired,
        }
        value |= {
            "rebuilt": sum(repair.kind in (FindingKind.REPAIRED, FindingKind.RELOCATED) for repair in report.repairs),
            "repairs": [finding_value(repair, names) for repair in report.repairs],
            "left_off": report.left_off,
        }
        print_json(value)
    else:
        lines = [f"{job}: {report.checked} objects checked, {report.unrepaired} faults remain"]
        lines += [finding_line(item, names) for item in (*report.findings, *report.repairs)]
        print_lines(lines + ([f"  and {report.left_off} more (`moorage events`)"] if report.left_off else []))
    return _care_exit(report)


def _care_exit(report: CareReport) -> int:
    if any(finding.kind is FindingKind.UNREPAIRABLE for finding in report.findings):
        return EXIT_INTEGRITY
    return EXIT_PARTIAL if report.unrepaired else EXIT_OK


async def _care(arguments: argparse.Namespace, job: str) -> tuple[CareReport, Names]:
    progress = TerminalProgress(quiet=arguments.quiet or arguments.json)
    full = job == "sweep" and arguments.full
    try:
        async with client_of(arguments) as client:
            if client.home.identity.role == "peer":
                report = await _care_at_home(client, _objects(client, arguments.objects), job, full, progress)
            else:
                objects = _objects(client, arguments.objects) or [entry.object for entry in client.memory.objects()]
                report = await care_for_objects(client, objects, job=job, full=full, progress=progress)
            return report, names_of(client)
    finally:
        progress.close()


def _objects(client: Client, texts: Iterable[str]) -> list[ObjectId]:
    return [client.memory.resolve(text) for text in texts]


async def _care_at_home(
    client: Client, objects: list[ObjectId], job: str, full: bool, progress: TerminalProgress
) -> CareReport:
    """In a peer's home its own daemon does the work, for all that it holds unless objects are named."""
    await client.find_peers()
    message = StartJob(job, full, job == "sweep", tuple(objects))
    return await run_job(client.peers, client.home.identity.peer, message, progress)
