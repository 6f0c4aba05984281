"""Deliberate defects of the production code, and the seeded stories that catch each of them.

A simulator that finds nothing proves little unless it is known what it would find. Each plant replaces one function or
method of the production code while a test runs; ``seeds.toml`` says which seed of which story catches it.

    python -m tests.sim.planted              search seeds for all plants, rewrite seeds.toml and docs/reliability.md
    python -m tests.sim.planted NAME ...     only these plants; nothing is written
"""
