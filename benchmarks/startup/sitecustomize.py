"""Every Python that is started with this folder in its PYTHONPATH has its event loops watched."""

from benchmarks.loop_watch import watch_loops

watch_loops()
