"""All structures that production code keeps on disks, each as a story."""

from __future__ import annotations

from tests.crash import stories_client, stories_consortium, stories_homes, stories_ledger, stories_peer, stories_store
from tests.crash.enumerate import Story

STORIES: tuple[type[Story], ...] = (
    *stories_store.STORIES,
    *stories_peer.STORIES,
    *stories_ledger.STORIES,
    *stories_client.STORIES,
    *stories_consortium.STORIES,
    *stories_homes.STORIES,
)
