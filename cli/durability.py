"""status --durability: how durable one object is as it lies now (docs/operations.md, "Durability of an object")."""

from __future__ import annotations

import argparse
import math

import trio

from cli.care import HEALTH_EXIT, Names, finding_value, names_of
from cli.clients import client_of
from cli.durability_words import durability_lines, may_lose_text, plan_command, verified_text
from cli.output import print_json, print_lines
from client.durability import state_durability
from client.statement import Durability, Holder
from erasure.durability_closed import nines
from erasure.durability_now import Forecast
from erasure.durability_plan import DAY, HOUR, Hazards


def run_durability(arguments: argparse.Namespace) -> int:
    """The exit status is that of the object's health, as for ``verify``. Raises MoorageError."""
    statement, names = trio.run(_state, arguments)
    if arguments.json:
        print_json(durability_value(statement, names))
    else:
        print_lines(durability_lines(statement, names))
    return HEALTH_EXIT[statement.examination.health]


async def _state(arguments: argparse.Namespace) -> tuple[Durability, Names]:
    async with client_of(arguments) as client:
        object_id = client.memory.resolve(arguments.durability)
        return await state_durability(client, object_id, full=arguments.full), names_of(client)


def durability_value(statement: Durability, names: Names) -> dict[str, object]:
    """The statement for programs. Infinite nines are null."""
    seen = statement.examination
    oldest = statement.oldest
    return {
        "object": str(seen.object),
        "health": seen.health.value,
        "spare": seen.spare,
        "scheme": str(seen.scheme),
        "full": seen.full,
        "confidence": seen.confidence_words,
        "holders": [_holder_value(holder) for holder in statement.holders],
        "survives": {
            "words": may_lose_text(statement),
            "sites": dict(statement.sites),
            "organisations": dict(statement.organisations),
            "any_site": seen.spread.survives_site,
            "more_peers": seen.spread.more_peers,
        },
        "verified": {
            "words": verified_text(statement),
            "oldest": oldest.look.verified_s if oldest and oldest.look else None,
            "by": oldest.name if oldest else None,
            "never": [holder.name for holder in statement.never_verified],
            "overdue": [holder.name for holder in statement.overdue],
            "not_known": [holder.name for holder in statement.untold],
        },
        "loss": _loss_value(statement.forecast),
        "no_loss_figure": statement.no_forecast or None,
        "assuming": _hazards_value(statement.hazards)
        | {"told_by_holders": statement.told, "holders": len(statement.holders)},
        "plan": plan_command(statement) or None,
        "findings": [finding_value(finding, names) for finding in seen.findings],
    }


def _holder_value(holder: Holder) -> dict[str, object]:
    place, look = holder.place, holder.look
    return {
        "name": holder.name,
        "peer": str(holder.peer),
        "organisation": place.organisation if place else None,
        "site": place.site if place else None,
        "shares": list(holder.shares),
        "shards": {status.value: count for status, count in sorted(holder.shards.items())},
        "verified": look.verified_s or None if look else None,
        "looked": look.checked_s or None if look else None,
        "left": look.health.value if look and look.health else None,
        "failure": holder.failure or None,
    }


def _loss_value(ahead: Forecast | None) -> dict[str, object] | None:
    if ahead is None:
        return None
    with_common = nines(ahead.now + ahead.common)
    return {
        "within_a_year": ahead.now,
        "nines": None if math.isinf(ahead.nines) else ahead.nines,
        "before_whole": ahead.before_whole,
        "until_whole_days": ahead.until_whole / DAY,
        "yearly_once_whole": ahead.yearly,
        "common_mode": ahead.common,
        "nines_with_common_mode": None if math.isinf(with_common) else with_common,
    }


def _hazards_value(hazards: Hazards) -> dict[str, object]:
    return {
        "sweep_days": hazards.sweep / DAY,
        "grace_hours": hazards.grace / HOUR,
        "repair_hours": hazards.repair / HOUR,
        "replace_days": hazards.replace / DAY,
        "loud": hazards.loud,
        "silent": hazards.silent,
        "site_loss": hazards.site,
        "site_replace_days": hazards.site_replace / DAY,
        "common": hazards.common,
        "common_hit": hazards.common_hit,
    }
