"""Approve what members propose; propose to leave, to renew the roster or to change keys."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import trio

from anchor.ballots import Motion, check_motion, encode_motion, parse_motion
from anchor.draft import Count, admin_keys, count_ballots
from anchor.organisation import Organisation
from anchor.proposal import Change, Proposal, words_of
from anchor.rootchain import contents_of_file
from anchor.rosterfile import parse_roster_file
from cli.clients import open_home
from cli.output import print_json, print_lines
from client.adminkey import (
    keep_proposed,
    kept_proposed,
    sign_once,
    signed_contents,
)
from client.assembly import Assembly
from client.context import Client, open_client
from client.home import Home
from client.rotation import with_new_admin_key, with_new_log, with_new_witness
from core.encoding import Value
from core.errors import EXIT_OK, MoorageError, RefusedError, UsageError
from core.ports import Ports

LIFE_S = 365 * 86400


def run_vote(arguments: argparse.Namespace) -> int:
    home, ports = open_home(arguments.home)
    if not home.roster.is_consortium:
        raise UsageError("this pool is no consortium: its roster is signed by one key")
    return trio.run(_vote, arguments, home, ports)


async def _vote(arguments: argparse.Namespace, home: Home, ports: Ports) -> int:
    async with open_client(ports, home) as client:
        assembly = Assembly(client)
        await assembly.open()
        match arguments.action:
            case "approve" if not arguments.proposal:
                return _list(arguments, home, await _all_motions(assembly, client))
            case "approve":
                motion = _chosen(arguments.proposal, await _all_motions(assembly, client))
            case _:
                motion = await _own_motion(arguments, client)
        return await _sign(arguments, assembly, client, motion)


async def _all_motions(assembly: Assembly, client: Client) -> list[Motion]:
    """What peers know of, and what this home proposed: its signature may have been lost on the way."""
    motions = await assembly.motions()
    kept = await client.ports.threads.disk(_kept_motion, client)
    if kept is not None and kept.proposal.id not in {motion.proposal.id for motion in motions}:
        motions = [*motions, kept]
    return motions


def _kept_motion(client: Client) -> Motion | None:
    """What this home proposed for the next roster, if it did. Blocks."""
    data = kept_proposed(client.ports.disk, client.home.folder)
    if data is None:
        return None
    roster, file = client.home.held.both
    try:
        motion = parse_motion(data)
        check_motion(roster, contents_of_file(parse_roster_file(file)), motion)
    except MoorageError:
        # Damaged, or of an earlier roster: there is nothing more to be had from it.
        return None
    return motion


async def _own_motion(arguments: argparse.Namespace, client: Client) -> Motion:
    """A proposal of ours, durable here before it is signed; the same one again when it was made before.

    Raises RefusedError when another was signed for this version.
    """
    disk, threads, home = client.ports.disk, client.ports.threads, client.home
    motion = Motion(await _proposal(arguments, client), ())
    kept = await threads.disk(_kept_motion, client)
    if kept is not None:
        draft = check_motion(home.roster, motion.proposal.contents, kept)
        ours = (kept.proposal.change, kept.proposal.name, kept.proposal.organisation)
        if ours == (motion.proposal.change, motion.proposal.name, motion.proposal.organisation):
            return kept
        if await threads.disk(signed_contents, disk, home.folder, draft.roster.epoch) == draft.contents:
            raise RefusedError(
                f"this home has proposed and signed another roster {draft.roster.epoch}, and never signs a second one: "
                f"`moorage consortium approve {kept.proposal.id.hex()[:12]}` offers that one again"
            )
    await threads.disk(keep_proposed, disk, home.folder, encode_motion(motion), client.ports.chance.token(4).hex())
    return motion


def _chosen(prefix: str, motions: Sequence[Motion]) -> Motion:
    found = [motion for motion in motions if motion.proposal.id.hex().startswith(prefix)]
    if len(found) != 1:
        raise UsageError(f"{len(found)} proposals begin with {prefix!r}: `moorage consortium approve` lists them")
    return found[0]


def _list(arguments: argparse.Namespace, home: Home, motions: Sequence[Motion]) -> int:
    rows = [_described(home, motion) for motion in motions]
    if arguments.json:
        print_json({"epoch": home.roster.epoch, "proposals": list(rows)})
    elif rows:
        for row in rows:
            _print(row)
    elif not arguments.quiet:
        print_lines([f"nothing waits for signatures; the roster is of version {home.roster.epoch}"])
    return EXIT_OK


def _described(home: Home, motion: Motion) -> dict[str, Any]:
    roster, proposal = home.roster, motion.proposal
    draft = check_motion(roster, contents_of_file(parse_roster_file(home.roster_file)), motion)
    count = count_ballots(draft, motion.ballots, roster)
    signers = {ballot.admin_key for ballot in motion.ballots}
    # By the keys of today: what a new key signed, its owner has not vouched for.
    names = [item.name for item in roster.organisations if item.member is not None and item.member.admin_key in signers]
    if signers - set(admin_keys(roster)):
        names.append("the newcomer" if proposal.change is Change.JOIN else f"the new key of {proposal.name}")
    return {
        "proposal": proposal.id.hex(),
        "change": str(proposal.change),
        "organisation": proposal.name,
        "words": list(words_of(roster, proposal)),
        "signed_by": list(names),
        **_counted(count),
        "version": roster.epoch + 1,
        "expires_s": proposal.expires_s,
    }


def _counted(count: Count) -> dict[str, Value]:
    return {
        "signatures_old": count.old,
        "needed_old": count.old_needed,
        "signatures_new": count.new,
        "needed_new": count.new_needed,
    }


def _print(row: dict[str, Any]) -> None:
    expires = datetime.fromtimestamp(row["expires_s"], tz=UTC)
    lines = [f"proposal {row['proposal'][:12]} for roster {row['version']}, valid until {expires:%Y-%m-%d}"]
    lines += [f"  {line}" for line in row["words"]]
    names = ", ".join(row["signed_by"]) or "nobody"
    before = f"{row['signatures_old']} of the {row['needed_old']} members before"
    lines.append(f"  signed by {names}: {before}, {row['signatures_new']} of {row['needed_new']} after, that it takes")
    print_lines(lines)


async def _sign(arguments: argparse.Namespace, assembly: Assembly, client: Client, motion: Motion) -> int:
    home = client.home
    row = _described(home, motion)
    if not (arguments.json or arguments.quiet):
        _print(row)
    draft = check_motion(home.roster, motion.proposal.contents, motion)
    token = client.ports.chance.token(4).hex()
    before = home.roster
    ballots = await client.ports.threads.disk(sign_once, client.ports.disk, home.folder, draft, before, token)
    signed = motion._replace(ballots=tuple(sorted({*motion.ballots, *ballots})))
    await assembly.cast(encode_motion(motion._replace(ballots=tuple(ballots))))
    published = await assembly.wait_for(before.epoch + 1, likely=count_ballots(draft, signed.ballots, before).is_enough)
    if arguments.json:
        now = count_ballots(draft, signed.ballots, before)
        print_json({**row, **_counted(now), "epoch": home.roster.epoch, "published": published})
    elif not arguments.quiet:
        more = "more members have to approve it"
        print_lines([f"signed; roster {home.roster.epoch} is published" if published else f"signed; {more}"])
    return EXIT_OK


async def _proposal(arguments: argparse.Namespace, client: Client) -> Proposal:
    home, now_s = client.home, int(client.ports.clock.now())
    name = getattr(arguments, "organisation", None) or home.identity.organisation
    entry: Organisation | None = None
    match arguments.action:
        case "leave":
            change = Change.LEAVE
        case "renew":
            change, name = Change.RENEW, ""
        case _:
            change = Change.REPLACE
            entry = await client.ports.threads.disk(_with_new_key, arguments, client)
    return Proposal(
        base=home.roster.epoch,
        contents=contents_of_file(parse_roster_file(home.roster_file)),
        change=change,
        name=name,
        organisation=entry,
        expires_s=now_s + LIFE_S,
        time_s=now_s,
        reason=getattr(arguments, "reason", "") or "",
    )


def _with_new_key(arguments: argparse.Namespace, client: Client) -> Organisation:
    """Our entry with another key, which is made here if it was not before. Blocks."""
    home, disk, token = client.home, client.ports.disk, client.ports.chance.token
    peer_home = os.path.abspath(arguments.peer_home or os.path.join(os.path.dirname(home.folder), "peer-1"))
    match arguments.key:
        case "witness":
            return with_new_witness(disk, home, peer_home, token)
        case "log":
            return with_new_log(disk, home, peer_home, token)
        case _:
            return with_new_admin_key(disk, home, token)
