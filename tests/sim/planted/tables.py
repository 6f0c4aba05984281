"""All plants, and the stories that catch them."""

from __future__ import annotations

from collections.abc import Mapping

from tests.sim.planted import care_bugs, ledger_bugs, pure_bugs, put_bugs, store_bugs, talk_bugs, tend_bugs
from tests.sim.planted.care_story import care
from tests.sim.planted.ledger_story import ledger
from tests.sim.planted.plant import Story
from tests.sim.planted.pure_story import placement, records, seal
from tests.sim.planted.put_story import put
from tests.sim.planted.store_story import store
from tests.sim.planted.talk_story import talk
from tests.sim.planted.tend_story import duplicate, papers, rebuild, turn

STORIES: Mapping[str, Story] = {
    "store": store,
    "ledger": ledger,
    "seal": seal,
    "placement": placement,
    "records": records,
    "put": put,
    "talk": talk,
    "care": care,
    "turn": turn,
    "papers": papers,
    "duplicate": duplicate,
    "rebuild": rebuild,
}
PLANTS = (
    *store_bugs.PLANTS,
    *ledger_bugs.PLANTS,
    *pure_bugs.PLANTS,
    *put_bugs.PLANTS,
    *talk_bugs.PLANTS,
    *care_bugs.PLANTS,
    *tend_bugs.PLANTS,
)
