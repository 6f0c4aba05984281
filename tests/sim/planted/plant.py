"""What a plant is, and how it is put in place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

Story = Callable[[int], None]
"""Runs on one seed; raises AssertionError, or whatever the production code raises, when a promise is broken."""


@dataclass(frozen=True)
class Plant:
    """One defect. ``bug``: what is wrong; ``promise``: what it breaks; ``story``: the name of what catches it."""

    name: str
    bug: str
    promise: str
    story: str
    owner: Any
    attribute: str
    defective: Callable[..., Any]

    @contextlib.contextmanager
    def planted(self) -> Generator[None]:
        """The defect is in place inside."""
        # What a subclass inherits would otherwise stay behind as its own.
        sound: object = self.owner.__dict__[self.attribute]
        setattr(self.owner, self.attribute, self.defective)
        try:
            yield
        finally:
            setattr(self.owner, self.attribute, sound)


def plant(
    owner: object, attribute: str, *, story: str, bug: str, promise: str
) -> Callable[[Callable[..., Any]], Plant]:
    """Decorate the defective variant of ``owner.attribute``, which is a class' method or a module's function."""

    def make(defective: Callable[..., Any]) -> Plant:
        assert attribute in vars(owner), f"{attribute} is not of {owner}"
        return Plant(defective.__name__, bug, promise, story, owner, attribute, defective)

    return make


def plants_of(names: dict[str, object]) -> tuple[Plant, ...]:
    """The plants among a module's names, in the order in which they stand there."""
    return tuple(value for value in names.values() if isinstance(value, Plant))
