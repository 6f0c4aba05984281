"""The models of docs/scale.md say what production code does, at sizes that are counted in seconds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from benchmarks.scale_client import count_catalogue, count_log, count_placement
from benchmarks.scale_directory import count_crawl, count_directory
from benchmarks.scale_growth import FLAT, N_LOG_N, Count, from_line, growths, slope, to_line
from benchmarks.scale_models import contacts, cover_lookups, crawl_questions, lookup_questions, shards_per_peer
from benchmarks.scale_peer import count_plan, count_store
from benchmarks.scale_plot import PANELS, plot_svg
from benchmarks.scale_pool import count_status
from benchmarks.scale_sweep import count_sweep
from benchmarks.scale_tables import growth_table, read_runs

TOLERANCE = 0.25


def by_name(counts: list[Count]) -> dict[str, Count]:
    return {item.quantity: item for item in counts}


@pytest.mark.parametrize("peers", [6, 40, 150])
def test_the_directory_is_as_large_and_as_talkative_as_its_model_says(peers: int) -> None:
    counts = [*count_directory(peers), *count_crawl(peers)]
    modelled = [item for item in counts if item.model is not None]
    assert len(modelled) >= 3
    for item in modelled:
        assert item.model == pytest.approx(item.value, rel=TOLERANCE), item


def test_a_look_asks_what_its_model_says_whatever_the_pool_and_its_objects() -> None:
    for peers, objects in ((6, 2), (12, 2), (6, 5)):
        for item in count_sweep(peers, objects, by="peers"):
            assert item.model is None or item.model == item.value, item


def test_status_asks_everybody_once_more_than_the_crawl() -> None:
    counts = by_name(count_status(30, objects=30_000))
    assert counts["`status`: connections of the client"].value == 30
    expected = crawl_questions(30) + 30
    assert counts["`status`: requests"].value == pytest.approx(expected, rel=TOLERANCE)


def test_a_period_is_planned_in_turns_that_are_as_many_as_the_objects() -> None:
    assert by_name(list(count_plan(3000)))["plan of a period: memory"].value < 3000 * 1000


@pytest.mark.parametrize("count", [count_store, count_catalogue, count_placement])
def test_what_is_timed_does_its_work(count: Callable[[int], list[Count]]) -> None:
    assert all(item.value > 0 for item in count(60))


def test_a_log_reads_32_bytes_a_leaf() -> None:
    counts = list(count_log(1000))
    assert counts[0].value == counts[0].model == 32_000


# --- the arithmetic -----------------------------------------------------------------------------


def test_slopes_are_powers() -> None:
    sizes = (10, 100, 1000)
    for power in (0.0, 0.5, 1.0, 2.0):
        assert slope([(n, 3 * n**power) for n in sizes]) == pytest.approx(power)
    assert FLAT < slope([(n, n * math.log(n)) for n in (1000, 10_000, 100_000)]) < N_LOG_N
    assert slope([(10, 1)]) == slope([]) == 0


def test_growth_is_that_of_the_largest_three_sizes_and_later_counts_replace_earlier_ones() -> None:
    values = [(1, 50.0), (10, 50.0), (100, 500.0), (1000, 9.0), (1000, 5000.0)]
    (found,) = growths([Count("x", "s", "objects", n, value) for n, value in values])
    assert found.slope == pytest.approx(1.0)
    assert found.words == "n log n or less"
    assert [count.value for count in found.counts] == [50, 50, 500, 5000]


def test_models_keep_their_limits() -> None:
    for peers in (1, 2, 6, 20, 21, 100, 10_000):
        assert contacts(peers) <= peers - 1
        assert lookup_questions(peers) <= max(peers, 23)
        assert crawl_questions(peers) <= max(4, 5 * peers)
    assert cover_lookups(10_000) == pytest.approx(2 * 10_000 / (19 * math.log(2)), rel=0.02)
    assert shards_per_peer(10**6, 1000, shards_per_object=12) == 12_000


def test_a_count_outlives_its_line() -> None:
    for item in (Count("x", "s", "peers", 6, 1.5), Count("y", "bytes", "objects", 7, 2.0, 2.5)):
        assert from_line(to_line(item)) == item


def test_what_the_document_shows_was_counted_and_is_drawn() -> None:
    kept = read_runs()
    assert {item.by for item in kept} == {"peers", "objects"}
    drawn = plot_svg(growths(kept))
    for by, names in PANELS.items():
        assert {item.quantity for item in kept if item.by == by} >= set(names)
        for name in names:
            assert name.replace("`", "") in drawn
            assert name in growth_table(by)
