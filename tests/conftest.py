"""How hard Hypothesis tries: briefly in every run, ten times as hard in `make slow`."""

from __future__ import annotations

from hypothesis import settings

# Deadlines measure the machine, not the code: a busy one would fail what is right.
settings.register_profile("brief", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=300, deadline=None)
settings.load_profile("brief")
