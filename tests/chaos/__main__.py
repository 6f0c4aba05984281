"""``python -m tests.chaos [SCENARIO ...]``: play scenarios one after another and say what was seen."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FrameType

from tests.chaos.arena import Run
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.wheel import build_wheel, install_wheel


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.list:
        for scenario in SCENARIOS:
            _say(f"{scenario.name:<16} {scenario.lacks() or 'can be played here'}")
        return 0
    # SIGTERM unwinds as Ctrl-C does, so that mounts, namespaces and processes go in any case.
    signal.signal(signal.SIGTERM, _end)
    chosen = [scenario for scenario in SCENARIOS if not arguments.scenarios or scenario.name in arguments.scenarios]
    folder = Path(tempfile.mkdtemp(prefix="moorage-chaos-"))
    try:
        (folder / "build").mkdir()
        environment = install_wheel(folder / "venv", build_wheel(folder / "build"))
        run = Run(
            command=environment.command,
            folder=folder,
            seed=arguments.seed,
            kills=arguments.kills,
            cuts=arguments.cuts,
            seconds=arguments.seconds,
            patience_s=arguments.patience,
            say=_say,
        )
        failed = [scenario.name for scenario in chosen if not play(run, scenario)]
        _say(json.dumps(run.figures, indent=1, sort_keys=True))
        _say(f"failed: {', '.join(failed)}" if failed else "nothing was lost, forked or left over")
        return 1 if failed else 0
    finally:
        if arguments.keep:
            _say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def play(run: Run, scenario: Scenario) -> bool:
    """Whether it went well or could not be played."""
    lacks = scenario.lacks()
    if lacks:
        run.say(f"{scenario.name}: skipped, {lacks}")
        return True
    options = f"--seconds {run.seconds:g} --kills {run.kills} --cuts {run.cuts}"
    run.say(f"{scenario.name}: python -m tests.chaos {scenario.name} --seed {run.seed} {options}")
    began = time.monotonic()
    try:
        scenario.play(run)
    except Exception:
        run.say(f"{scenario.name}: FAILED after {time.monotonic() - began:.0f} s\n{traceback.format_exc()}")
        return False
    run.say(f"{scenario.name}: passed in {time.monotonic() - began:.0f} s")
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="which ones (default: all); see --list")
    parser.add_argument("--list", action="store_true", help="name the scenarios, and what they lack here")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="of contents, victims, moments and schedules")
    parser.add_argument("--kills", type=int, default=60, help="kill -9 in the scenario of that name (default: 60)")
    parser.add_argument("--patience", type=float, default=86400.0, help="seconds after which kills end anyway")
    parser.add_argument("--cuts", type=int, default=4, help="power cuts of each file system (default: 4)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of faults in each other scenario (default: 20)")
    parser.add_argument("--keep", action="store_true", help="leave the folder with homes and logs")
    return parser


def _say(text: str) -> None:
    print(text, flush=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
