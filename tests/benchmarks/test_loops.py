"""What holds an event loop up is seen, in whatever process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.lab import HERE
from benchmarks.loop_watch import FOLDER, read_steps

PROGRAM = """
import time, trio

async def hold_up(seconds):
    await trio.sleep(0)
    time.sleep(seconds)

trio.run(hold_up, 0.05)
"""


def test_steps_of_a_process_that_knows_nothing_of_it_are_kept(tmp_path: Path) -> None:
    path = os.pathsep.join([str(HERE / "startup"), str(HERE.parent)])
    environment = {**os.environ, FOLDER: str(tmp_path), "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, timeout=60)
    ((step,),) = [[step for step in steps if "hold_up" in step.task] for steps in read_steps(tmp_path).values()]
    assert step.wall_s >= 0.05
    assert step.cpu_s < step.wall_s
