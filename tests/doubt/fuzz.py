"""`make fuzz SECONDS=60 [TARGET=...]`: coverage-guided fuzzing of every parser by Atheris (libFuzzer).

Each target runs in a process of its own, from the corpus in ``tests/doubt/corpus`` and its samples; what it learned
goes to ``build/fuzz/NAME``. An input that breaks a promise (``targets.allowed``) is kept in
``tests/doubt/corpus/NAME/crash-*``, where the fast tests replay it ever after, and ends the command with status 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).with_name("corpus")
LEARNED = ROOT / "build" / "fuzz"
INPUT_MAX_BYTES = 8192
# What parses; the rest of the program would only make it slower.
PARSERS = ("core.", "erasure.", "anchor.", "wire.", "dht.", "client.", "daemon.", "tests.doubt.targets")
# A parser that thinks for longer about 8 KiB hangs.
HANG_S = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.doubt.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=int, default=0, help="put so many of the smallest new inputs into the corpus")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*")
    arguments = parser.parse_args()
    if arguments.child:
        _fuzz_here(arguments.targets[0], arguments.seconds, arguments.seed)
    from tests.doubt.targets import targets

    names = arguments.targets or [target.name for target in targets()]
    runs = failures = 0
    print(f"{'target':22} {'runs':>9} {'coverage':>9} {'corpus':>7}  outcome")
    for name in names:
        count, ok = _fuzz(name, max(1, arguments.seconds // len(names)), arguments.seed)
        runs += count
        failures += not ok
        if arguments.keep and ok:
            _keep(name, arguments.keep)
    print(f"{len(names)} targets, {runs} runs, {failures} failures")
    return 1 if failures else 0


def _fuzz(name: str, seconds: int, seed: int) -> tuple[int, bool]:
    """How many inputs were tried, and whether every promise was kept."""
    words = [sys.executable, "-m", "tests.doubt.fuzz", "--child", "--seconds", str(seconds), "--seed", str(seed), name]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    count = re.search(r"Done (\d+) runs", done.stderr) or re.search(r"(?s:.*)^#(\d+)", done.stderr, re.MULTILINE)
    coverage = re.findall(r"(?:cov|ft): (\d+)", done.stderr)
    corpus = re.findall(r"corp: (\d+)", done.stderr)
    ok = done.returncode == 0
    print(
        f"{name:22} {count[1] if count else '0':>9} {coverage[-1] if coverage else '?':>9} "
        f"{corpus[-1] if corpus else '?':>7}  {'ok' if ok else 'FAILED'}",
        flush=True,
    )
    if not ok:
        print((done.stdout + done.stderr)[-4000:])
    return int(count[1]) if count else 0, ok


def _fuzz_here(name: str, seconds: int, seed: int) -> None:
    """Never returns: libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=[prefix.rstrip(".") for prefix in PARSERS], enable_loader_override=False):
        from tests.doubt import targets

    target = next(item for item in targets.targets() if item.name == name)
    learned, kept = LEARNED / name, CORPUS / name
    for folder in (learned, kept):
        folder.mkdir(parents=True, exist_ok=True)
    for data in target.samples:
        (learned / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def one_input(data: bytes) -> None:
        targets.allowed(target, data)

    options = [
        f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={INPUT_MAX_BYTES}", f"-timeout={HANG_S}",
        "-print_final_stats=1", f"-artifact_prefix={kept}/", str(learned), str(kept),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


def _keep(name: str, count: int) -> None:
    """The smallest of what reached something new, up to ``count`` in all."""
    kept = CORPUS / name
    room = count - len(list(kept.iterdir()))
    for path in sorted((LEARNED / name).iterdir(), key=lambda item: (item.stat().st_size, item.name))[: max(0, room)]:
        (kept / path.name[:16]).write_bytes(path.read_bytes())


if __name__ == "__main__":
    raise SystemExit(main())
