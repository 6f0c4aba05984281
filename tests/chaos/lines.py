"""Networks that lose, cut, reset, delay and throttle; clocks that step."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tests.chaos.arena import Run, arena
from tests.chaos.sick import Namespace, clock_library, namespace

FIRST_PORT = 47000
PEERS = 6
NFQUEUE = Path(__file__).with_name("nfqueue.py")
STEPS_S = (180, -180, 600, -600, 3600, 0)


def addresses() -> list[str]:
    return [f"{address_of(number)}:{FIRST_PORT + number}" for number in range(1, PEERS + 1)]


def address_of(number: int) -> str:
    """Each peer has a loopback address of its own, so that rules can tell them apart."""
    return f"127.0.0.{10 + number}"


def settings_of(number: int) -> str:
    return f'[network]\nlisten = "{address_of(number)}:{FIRST_PORT + number}"\n[store]\nreserve = "1 MiB"\n'


def network_faults(run: Run) -> None:
    """A network namespace: loss, one-way partitions, resets, a slow line, delay and jitter, one after the other."""
    with ExitStack() as stack:
        net = stack.enter_context(namespace(f"chaos-{run.seed}"))
        the = stack.enter_context(arena(run, "network", prefix=net.prefix, settings=settings_of, addresses=addresses()))
        the.begin()
        for name, fault in phases(net).items():
            the.note(name)
            before = len(the.load.acknowledged)
            with fault():
                time.sleep(run.seconds / 4)
            net.calm()
            the.fleet.counts[f"acknowledged: {name}"] = len(the.load.acknowledged) - before
        the.settle()


def phases(net: Namespace) -> dict[str, Callable[[], AbstractContextManager[None]]]:
    """Faults by what they do; each begins when its context is entered."""

    @contextmanager
    def ruled(*rules: tuple[str, ...]) -> Iterator[None]:
        for rule in rules:
            net.rule(*rule)
        yield

    @contextmanager
    def slow() -> Iterator[None]:
        net.slow(8)
        yield

    unheard = ("ip", "daddr", address_of(2), "tcp", "dport", str(FIRST_PORT + 2), "drop")
    mute = ("ip", "saddr", address_of(3), "tcp", "sport", str(FIRST_PORT + 3), "drop")
    reset = ("tcp", "dport", f"{FIRST_PORT}-{FIRST_PORT + 99}", "numgen", "random", "mod", "1000", "<", "5")
    loss = ("meta", "l4proto", "tcp", "numgen", "random", "mod", "100", "<")
    return {
        "2 % of packets lost": lambda: ruled((*loss, "2", "drop")),
        "10 % of packets lost": lambda: ruled((*loss, "10", "drop")),
        "one peer hears nothing": lambda: ruled(unheard),
        "one peer's answers are lost": lambda: ruled(mute),
        "connections are reset": lambda: ruled((*reset, "reject", "with", "tcp", "reset")),
        "8 Mbit/s for all": slow,
        "delay of 20 to 80 ms": lambda: delayed(net),
    }


@contextmanager
def delayed(net: Namespace) -> Iterator[None]:
    """By a program that holds each packet back; where the library for it is missing, by a narrow line."""
    helper = subprocess.Popen([*net.prefix, sys.executable, str(NFQUEUE), "20", "80"], stdout=subprocess.PIPE)
    try:
        assert helper.stdout is not None
        if helper.stdout.readline().strip() == b"ready":
            net.run("iptables", "-A", "INPUT", "-p", "tcp", "-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass")
        else:
            net.slow(4)
        yield
    finally:
        net.run("iptables", "-F", "INPUT", check=False)
        helper.terminate()
        helper.wait()
        if helper.stdout is not None:
            helper.stdout.close()


def clock_steps(run: Run) -> None:
    """The wall clock of one daemon is set back and forth by minutes (libfaketime); others refuse to believe it."""
    with arena(run, "clock") as the:
        peer = the.fleet.peers[1]
        steps = run.folder / "clock.offset"
        _step(steps, 0)
        peer.environment = {
            "LD_PRELOAD": str(clock_library()),
            "FAKETIME_TIMESTAMP_FILE": str(steps),
            "FAKETIME_NO_CACHE": "1",
            # Timeouts count by it, and it never steps.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        the.begin()
        for step_s in STEPS_S:
            _step(steps, step_s)
            the.note(f"{step_s:+} s")
            time.sleep(run.seconds / len(STEPS_S) / 2)
            # It must also start with a wrong clock.
            the.fleet.kill(peer)
            time.sleep(run.seconds / len(STEPS_S) / 2)
        the.settle()


def _step(file: Path, seconds: int) -> None:
    beside = file.with_suffix(".next")
    beside.write_text(f"{seconds:+d}\n")
    beside.rename(file)
