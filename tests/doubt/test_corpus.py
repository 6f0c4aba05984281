"""What the fuzzer found interesting, or wrong once, is read again in every run (`make fuzz` finds more)."""

from __future__ import annotations

import pytest

from tests.doubt.fuzz import CORPUS
from tests.doubt.targets import Target, allowed, targets


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_the_corpus_is_parsed_or_refused(target: Target) -> None:
    found = sorted((CORPUS / target.name).glob("*"))
    assert found, f"no corpus: run `python -m tests.doubt.fuzz --keep 12 {target.name}`"
    for path in found:
        allowed(target, path.read_bytes())


def test_no_corpus_is_without_its_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= {target.name for target in targets()}
