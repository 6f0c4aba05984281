"""A command that the agent forks is like one that starts by itself, whatever happens to it, its front or the agent."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import cli.background
from cli.background import running_agent, stop_agent
from cli.front import AGENT_VARIABLE, ANSWER_DEADLINE_S, OFF, PID_BYTES, READY, address_of
from cli.likeness import seen_of
from cli.owner import OWNER_VARIABLE
from tests.cli.probe import (
    COMMANDS_VARIABLE,
    DEADLINE_VARIABLE,
    FORGED_VARIABLE,
    HESITATION_VARIABLE,
    MODULE_VARIABLE,
    NOT_BY_AGENT,
    PROCESSOR_VARIABLE,
)

ROOT = Path(__file__).resolve().parent.parent.parent
PROBE = (sys.executable, "-m", "tests.cli.probe")
DEADLINE_S = 30.0


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, f"no {what} after {DEADLINE_S} s"
        time.sleep(0.01)


def state_of(pid: int) -> str:
    """R, S, D, T, Z...; empty when it is gone (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_gone(pid: int) -> bool:
    return state_of(pid) in ("", "Z")


class Place:
    """A home's folder with an agent in it, as far as the agent and its fronts need one."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.agent: subprocess.Popen[str] | None = None
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.environment["PYTHONPATH"] = str(ROOT)

    def serve(
        self, variables: Mapping[str, str] | None = None, *, before: Callable[[], object] | None = None
    ) -> subprocess.Popen[str]:
        self.agent = subprocess.Popen(
            [*PROBE, "agent", str(self.home)],
            env={**self.environment, **(variables or {})},
            cwd="/",
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=before,
        )
        assert self.agent.stdout is not None
        assert self.agent.stdout.readline() == "ready\n"
        return self.agent

    def start(self, word: str, *, role: str = "front", **how: Any) -> subprocess.Popen[bytes]:
        settings = {"env": self.environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, **how}
        words = ["-v", "--home", str(self.home), "ls", word]
        return subprocess.Popen([*PROBE, role, *words], **settings)

    def run(self, word: str, *, role: str = "front", **how: Any) -> tuple[int, bytes, bytes]:
        """Status, output and complaint."""
        with self.start(word, role=role, **how) as process:
            output, complaint = process.communicate(timeout=DEADLINE_S)
        return process.returncode, output or b"", complaint or b""

    def begin(self, mark: Path) -> tuple[subprocess.Popen[bytes], int]:
        """A command that waits until ``mark`` is removed: its front, and the process that works."""
        front = self.start(f"wait={mark}")
        wait_until(lambda: mark.exists() and bool(mark.read_text()), "command under way")
        return front, int(mark.read_text())

    def close(self) -> None:
        if self.agent is not None:
            self.agent.kill()
            self.agent.communicate()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    home = tmp_path / "home"
    home.mkdir()
    place = Place(home)
    try:
        yield place
    finally:
        place.close()


@pytest.fixture
def served(place: Place) -> Place:
    place.serve()
    return place


def lowered_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), min(hard, 300)))


def nicer() -> None:
    os.nice(3)


def one_processor() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])


def without_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def in_the_background() -> None:
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def without_word_of_children() -> None:
    for number in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


BEFORE = [int, lowered_files, nicer, one_processor, without_hangup, in_the_background, without_word_of_children]


@pytest.mark.parametrize("before", BEFORE)
def test_the_process_is_as_its_front_was_started(served: Place, before: Callable[[], object]) -> None:
    how = {"preexec_fn": before, "stdin": subprocess.DEVNULL}
    alone, by_agent = (served.run("tell", role=role, **how) for role in ("alone", "front"))
    assert alone[0] == 0
    assert by_agent[0] == 0
    assert [pair for pair in zip(told(by_agent), told(alone), strict=True) if pair[0] != pair[1]] == []


def told(ran: tuple[int, bytes, bytes]) -> list[bytes]:
    """Its lines, less the socket to the front."""
    return [re.sub(rb"^descriptors \['socket:\[\d+\]'\]$", b"descriptors []", line) for line in ran[1].splitlines()]


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_folder_files_variables_and_umask_are_the_front_s(served: Place, tmp_path: Path, umask: int) -> None:
    variables = {"TZ": "Asia/Tokyo", "ODD": "a\nb=c\udcff", "PATH": "/bin"} | {
        name: value for name, value in served.environment.items() if name.startswith(("PYTHON", "LD_"))
    }
    outputs = []
    for role in ("alone", "front"):
        with (tmp_path / "in").open("wb+") as given, (tmp_path / "out").open("wb") as output:
            how = {"env": variables, "stdin": given, "stdout": output, "stderr": output, "umask": umask}
            variables["PYTHONPATH"] = str(ROOT)
            served.run("tell", role=role, cwd=tmp_path, **how)
        outputs.append((tmp_path / "out").read_bytes())
    assert b"Tokyo" in outputs[0] or b"JST" in outputs[0]
    assert f"folder {tmp_path}\numask {umask:o}\n".encode() in outputs[0]
    assert b"not by the agent" not in outputs[1]
    lines = [told((0, output, b"")) for output in outputs]
    assert [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]] == []


def test_standard_input_is_the_front_s(served: Place) -> None:
    with served.start("echo", stdin=subprocess.PIPE) as front:
        assert front.communicate(b"here it is", timeout=DEADLINE_S) == (b"here it is", b"")


@pytest.mark.parametrize(
    "word",
    ["status=0", "status=3", "status=75", "signal=15", "signal=9", "signal=2", "signal=1", "print=100000"],
)
def test_it_ends_as_it_would_alone(served: Place, word: str) -> None:
    assert served.run(word) == served.run(word, role="alone")


def test_a_bug_shows_its_traceback(served: Place) -> None:
    status, output, complaint = served.run("raise=here")
    assert (status, output) == (1, b"")
    assert complaint.startswith(b"Traceback")
    assert complaint.endswith(b"AssertionError: here\n")


@pytest.mark.parametrize("role", ["alone", "front"])
def test_output_that_cannot_be_written_is_told(served: Place, role: str) -> None:
    with Path("/dev/full").open("wb") as full:
        status, _, complaint = served.run("print=10", role=role, stdout=full)
    assert status == 120
    assert b"No space left on device" in complaint


def test_nobody_reads_the_output(served: Place) -> None:
    ends = []
    for role in ("alone", "front"):
        read, write = os.pipe()
        os.close(read)
        ends.append(served.run("print=1000000", role=role, stdout=write))
        os.close(write)
    assert ends[0] == ends[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_to_the_front_is_the_command_s(served: Place, tmp_path: Path, number: signal.Signals) -> None:
    # Who ends by SIGQUIT leaves a core.
    front, worker = served.begin(tmp_path / "mark")
    front.send_signal(number)
    _, complaint = front.communicate(timeout=DEADLINE_S)
    wait_until(lambda: is_gone(worker), "end of the command")
    interrupted = number == signal.SIGINT
    assert front.returncode == (130 if interrupted else -number)
    assert complaint == (b"moorage: interrupted\n" if interrupted else b"")


def test_what_is_ignored_stays_ignored(served: Place, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    front = served.start(f"wait={mark}", preexec_fn=without_hangup)
    wait_until(mark.exists, "command under way")
    front.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    mark.unlink()
    assert front.communicate(timeout=DEADLINE_S)[0] == b"done\n"
    assert front.returncode == 0


def test_who_kills_the_front_kills_the_command(served: Place, tmp_path: Path) -> None:
    front, worker = served.begin(tmp_path / "mark")
    front.kill()
    front.communicate()
    wait_until(lambda: is_gone(worker), "end of the command")
    assert served.run("status=0")[0] == 0


def test_both_are_paused_and_both_go_on(served: Place, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    front, worker = served.begin(mark)
    front.send_signal(signal.SIGTSTP)
    wait_until(lambda: (state_of(front.pid), state_of(worker)) == ("T", "T"), "pause")
    mark.unlink()
    front.send_signal(signal.SIGCONT)
    assert front.communicate(timeout=DEADLINE_S)[0] == b"done\n"
    assert front.returncode == 0


def test_a_killed_agent_does_not_hinder_what_runs(served: Place, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    front, _ = served.begin(mark)
    assert served.agent is not None
    served.agent.kill()
    served.agent.wait()
    assert served.run("status=0")[0] == NOT_BY_AGENT
    mark.unlink()
    assert front.communicate(timeout=DEADLINE_S)[0] == b"done\n"
    assert front.returncode == 0


def test_agent_and_command_killed_is_said(served: Place, tmp_path: Path) -> None:
    front, worker = served.begin(tmp_path / "mark")
    assert served.agent is not None
    served.agent.kill()
    served.agent.wait()
    os.kill(worker, signal.SIGKILL)
    _, complaint = front.communicate(timeout=DEADLINE_S)
    assert front.returncode == 75
    assert complaint.startswith(b"moorage: the agent was killed")


def test_an_agent_told_to_stop_leaves_commands_running(served: Place, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    front, _ = served.begin(mark)
    assert served.agent is not None
    served.agent.terminate()
    wait_until(lambda: served.run("status=0")[0] == NOT_BY_AGENT, "end of its service")
    assert served.agent.poll() is None, "it still looks after its command"
    mark.unlink()
    assert front.communicate(timeout=DEADLINE_S)[0] == b"done\n"
    assert front.returncode == 0
    assert served.agent.wait(DEADLINE_S) == 0


def test_who_kills_the_front_of_an_agent_that_stops_kills_the_command(served: Place, tmp_path: Path) -> None:
    front, worker = served.begin(tmp_path / "mark")
    assert served.agent is not None
    served.agent.terminate()
    wait_until(lambda: served.run("status=0")[0] == NOT_BY_AGENT, "end of its service")
    front.kill()
    front.communicate()
    wait_until(lambda: is_gone(worker), "end of the command")
    assert served.agent.wait(DEADLINE_S) == 0


def test_a_second_signal_ends_the_agent_and_no_command(served: Place, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    front, _ = served.begin(mark)
    assert served.agent is not None
    served.agent.terminate()
    wait_until(lambda: served.run("status=0")[0] == NOT_BY_AGENT, "end of its service")
    served.agent.terminate()
    assert served.agent.wait(DEADLINE_S) == 0
    mark.unlink()
    assert front.communicate(timeout=DEADLINE_S) == (b"done\n", b"")
    assert front.returncode == 0


def test_another_agent_may_follow_one_that_stops(served: Place, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    front, _ = served.begin(mark)
    first = served.agent
    assert first is not None
    first.terminate()
    wait_until(lambda: served.run("status=0")[0] == NOT_BY_AGENT, "end of its service")
    served.serve()
    assert served.run("status=7")[0] == 7
    mark.unlink()
    assert front.communicate(timeout=DEADLINE_S)[0] == b"done\n"
    first.communicate(timeout=DEADLINE_S)


def test_an_agent_that_is_stopped_is_done_without_and_runs_nothing_later(served: Place, tmp_path: Path) -> None:
    assert served.agent is not None
    served.agent.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert served.run(f"count={tmp_path / 'count'}")[0] == NOT_BY_AGENT
    assert ANSWER_DEADLINE_S <= time.monotonic() - began < ANSWER_DEADLINE_S + 5
    served.agent.send_signal(signal.SIGCONT)
    assert served.run(f"count={tmp_path / 'count'}")[0] == 0
    assert (tmp_path / "count").read_text() == "once\n"


def test_an_interrupt_while_the_agent_is_waited_for_ends_the_front(served: Place, tmp_path: Path) -> None:
    assert served.agent is not None
    served.agent.send_signal(signal.SIGSTOP)
    front = served.start(f"count={tmp_path / 'count'}")
    time.sleep(0.7)
    front.send_signal(signal.SIGINT)
    assert front.wait(DEADLINE_S) == -signal.SIGINT
    served.agent.send_signal(signal.SIGCONT)
    front.communicate()
    assert served.run("status=0")[0] == 0
    assert not (tmp_path / "count").exists()


@pytest.mark.parametrize(
    ("variables", "reason"),
    [({"PYTHONHASHSEED": "1"}, b"PYTHON or LD variables"), ({"LD_LIBRARY_PATH": "/x"}, b"PYTHON or LD variables")],
)
def test_another_start_is_declined_with_the_reason(served: Place, variables: dict[str, str], reason: bytes) -> None:
    status, _, complaint = served.run("status=0", env=served.environment | variables)
    assert status == NOT_BY_AGENT
    assert reason in complaint


def test_what_cannot_be_taken_on_is_declined(served: Place) -> None:
    status, _, complaint = served.run("status=0", env=served.environment | {PROCESSOR_VARIABLE: "100000"})
    assert status == NOT_BY_AGENT
    assert b"Invalid argument" in complaint


def test_a_closed_stream_is_left_to_an_ordinary_start(served: Place) -> None:
    assert served.run("status=0", preexec_fn=lambda: os.close(0))[0] == NOT_BY_AGENT


def test_the_agent_can_be_left_out(served: Place) -> None:
    assert served.run("status=0", env=served.environment | {AGENT_VARIABLE: OFF})[0] == NOT_BY_AGENT


def test_another_user_s_socket_is_given_nothing(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address_of(str(place.home)) or b"")
        os.seteuid(65534)
        try:
            listener.listen()  # whose socket it is is noted here
        finally:
            os.seteuid(0)
        status, _, complaint = place.run("status=0")
        with listener.accept()[0] as front:
            assert front.recv(1) == b"", "nothing was sent to it"
    assert status == NOT_BY_AGENT
    assert b"another user" in complaint


def test_a_listener_with_fewer_rights_is_given_nothing(place: Place) -> None:
    """Also when it says READY: descriptors and environment would be a way out of its sandbox."""
    code = (
        "import socket, sys; from tests.cli.test_agent import without_new_privileges;"
        " from cli.front import READY, address_of;"
        " listener = socket.socket(socket.AF_UNIX); listener.bind(address_of(sys.argv[1]));"
        " without_new_privileges(); listener.listen(); print('ready', flush=True);"
        " front = listener.accept()[0]; front.send(READY); sys.exit(len(front.recv(1000)))"
    )
    words = [sys.executable, "-c", code, str(place.home)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=place.environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        status, _, complaint = place.run("status=0")
        # What the front left unread resets the connection.
        _, ending = listener.communicate(timeout=DEADLINE_S)
    assert listener.returncode == 0 or "ConnectionResetError" in ending
    assert status == NOT_BY_AGENT
    assert b"rights" in complaint


def test_a_process_with_an_odd_name_has_the_rights_that_it_has(tmp_path: Path) -> None:
    """Its name stands in what the kernel says of it, with all its line breaks but newlines."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    odd = tmp_path / "x\fCapEff:\x1cy"
    odd.symlink_to(sleep)
    with subprocess.Popen([odd, "60"]) as one, subprocess.Popen([sleep, "60"]) as other:
        try:
            wait_until(lambda: "CapEff" in Path(f"/proc/{one.pid}/comm").read_text(), "start")
            assert seen_of(one.pid) == seen_of(other.pid)
        finally:
            one.kill()
            other.kill()


def test_an_agent_that_hangs_is_killed_when_it_is_stopped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.background, "AGENT_DOWN_DEADLINE_S", 0.5)
    code = (
        "import signal, socket, sys, time; from cli.front import address_of;"
        " listener = socket.socket(socket.AF_UNIX); listener.bind(address_of(sys.argv[1])); listener.listen(3);"
        " signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(place.home)]
    with subprocess.Popen(words, env=place.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        stop_agent(str(place.home))
        assert listener.wait(DEADLINE_S) == -signal.SIGKILL
    assert running_agent(str(place.home)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"\0\0\0\5hello",
        b"\xff\xff\xff\xff" + bytes(100),
        b"\0\0\0\2[]",
        b"\0\0\0\4" + b"((((",
        b"\0\0\0\x12" + b"1,2,3,4,5,6,7,8,9 ",
    ],
)
def test_bytes_that_are_no_request_run_nothing(served: Place, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as odd:
        odd.settimeout(DEADLINE_S)
        odd.connect(address_of(str(served.home)) or b"")
        assert odd.recv(1) == READY
        odd.sendall(data)
        odd.shutdown(socket.SHUT_WR)
        answer = odd.recv(1000)
    assert answer[:PID_BYTES] == bytes(PID_BYTES)
    assert served.run("status=0")[0] == 0


def test_no_two_commands_draw_the_same(served: Place) -> None:
    drawn = [served.run("draw")[1].split() for _ in range(3)]
    assert all(len(set(column)) == 3 for column in zip(*drawn, strict=True))
    assert len(drawn[0]) == 4


def test_many_at_once(served: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert [ran[0] for ran in pool.map(lambda _: served.run("status=4"), range(40))] == [4] * 40
    wait_until(lambda: children(served) == [], "reaping")


def children(served: Place) -> list[int]:
    """Of the agent, also those that nobody has waited for."""
    assert served.agent is not None
    ran = subprocess.run(["ps", "-o", "pid=", "--ppid", str(served.agent.pid)], capture_output=True, check=False)
    return [int(pid) for pid in ran.stdout.split()]


def test_what_comes_on_top_of_the_most_commands_starts_without_it(place: Place, tmp_path: Path) -> None:
    place.serve({COMMANDS_VARIABLE: "1"})
    mark = tmp_path / "mark"
    front, _ = place.begin(mark)
    status, _, complaint = place.run("status=0")
    assert status == NOT_BY_AGENT
    assert b"no room for another command" in complaint
    mark.unlink()
    assert front.communicate(timeout=DEADLINE_S)[0] == b"done\n"
    wait_until(lambda: place.run("status=0")[0] == 0, "room")


@pytest.mark.parametrize("files", range(6, 14))
def test_an_agent_short_of_descriptors_lives(place: Place, tmp_path: Path, files: int) -> None:
    """Whichever of its calls it is that fails, with how many commands under way."""
    agent = place.serve()
    bounds = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (files, bounds[1]))
    marks = [tmp_path / f"mark{number}" for number in range(4)]
    fronts = [place.start(f"wait={mark}", role="either") for mark in marks]
    for mark in marks:
        wait_until(lambda mark=mark: mark.exists() and bool(mark.read_text()), "command under way")  # type: ignore[misc]
    for mark, front in zip(marks, fronts, strict=True):
        mark.unlink()
        assert front.communicate(timeout=DEADLINE_S)[0] == b"done\n"
        assert front.returncode == 0
    assert agent.poll() is None
    resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, bounds)
    wait_until(lambda: children(place) == [], "reaping")
    assert place.run("status=5")[0] == 5


def test_an_agent_whose_starter_ignores_children_waits_for_its_own(place: Place) -> None:
    def before() -> None:
        without_word_of_children()
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGCHLD))

    agent = place.serve(before=before)
    assert place.run("status=6")[0] == 6
    agent.terminate()
    assert agent.wait(DEADLINE_S) == 0


def test_a_front_that_hesitates_runs_the_command_itself(place: Place, tmp_path: Path) -> None:
    place.serve({DEADLINE_VARIABLE: "0.2"})
    with place.start(f"count={tmp_path / 'count'}", env=place.environment | {HESITATION_VARIABLE: "1"}) as front:
        _, complaint = front.communicate(timeout=DEADLINE_S)
    assert front.returncode == NOT_BY_AGENT
    assert b"Broken pipe" in complaint or b"No such process" in complaint
    assert not (tmp_path / "count").exists()


def test_a_changed_module_ends_the_agent(place: Place, tmp_path: Path) -> None:
    module = tmp_path / "probed.py"
    module.write_text("x = 1\n")
    agent = place.serve({MODULE_VARIABLE: str(tmp_path)})
    assert place.run("status=0")[0] == 0
    module.write_text("x = 1234\n")
    assert place.run("status=0")[0] == NOT_BY_AGENT
    assert agent.wait(DEADLINE_S) == 0


def test_an_agent_ends_with_its_home(served: Place) -> None:
    assert served.agent is not None
    served.home.rmdir()
    assert served.agent.wait(DEADLINE_S) == 0


def test_an_agent_goes_on_where_its_home_is_moved_back(served: Place) -> None:
    moved = served.home.with_name("moved")
    served.home.rename(moved)
    moved.rename(served.home)
    assert served.run("status=3")[0] == 3


def test_a_copy_of_a_home_is_another(served: Place, tmp_path: Path) -> None:
    copy = Place(tmp_path / "copy")
    shutil.copytree(served.home, copy.home)
    assert copy.run("status=0")[0] == NOT_BY_AGENT


def test_a_second_agent_is_refused(served: Place) -> None:
    ran = subprocess.run([*PROBE, "agent", str(served.home)], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert served.agent is not None
    assert f"another agent, process {served.agent.pid}," in ran.stderr


def test_a_front_with_fewer_rights_is_declined(served: Place) -> None:
    status, _, complaint = served.run("status=0", preexec_fn=without_new_privileges)
    assert status == NOT_BY_AGENT
    assert b"rights" in complaint


def blocking_hangup() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))


def as_a_batch() -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def sooner_killed() -> None:
    Path("/proc/self/oom_score_adj").write_text("500")


@pytest.mark.parametrize(
    ("before", "reason"),
    [(blocking_hangup, b"blocked signals"), (as_a_batch, b"scheduling"), (sooner_killed, b"scheduling")],
)
def test_what_is_not_taken_on_is_declined(served: Place, before: Callable[[], object], reason: bytes) -> None:
    status, _, complaint = served.run("status=0", preexec_fn=before)
    assert status == NOT_BY_AGENT
    assert reason in complaint


def without_new_privileges() -> None:
    """PR_SET_NO_NEW_PRIVS (prctl(2)), as of whoever runs commands in a sandbox."""
    assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0


def test_an_agent_ends_with_its_owner(place: Place) -> None:
    with subprocess.Popen(["sleep", "60"]) as owner:
        agent = place.serve({OWNER_VARIABLE: str(owner.pid)})
        assert place.run("status=0")[0] == 0
        owner.kill()
    assert agent.wait(DEADLINE_S) == 0


def test_a_front_with_fewer_rights_that_says_otherwise_is_declined(served: Place, tmp_path: Path) -> None:
    """The kernel is asked, not the front."""
    forging = served.environment | {FORGED_VARIABLE: "yes"}
    status, _, complaint = served.run(f"count={tmp_path / 'count'}", env=forging, preexec_fn=without_new_privileges)
    assert status == NOT_BY_AGENT
    assert b"not by the agent" in complaint
    assert not (tmp_path / "count").exists()


def container_of(*kinds: str) -> list[str]:
    """The words before a command that give it namespaces of its own; skips the test where none are to be had."""
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    container = ["unshare", *own_user, *kinds]
    if shutil.which("unshare") is None or subprocess.run([*container, "true"], check=False).returncode:
        pytest.skip("no namespaces here")
    return container


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("kinds", [("--mount",), ("--mount", "--pid", "--fork", "--mount-proc")])
def test_a_front_in_another_container_is_declined(
    served: Place, tmp_path: Path, kinds: Sequence[str], forged: bool
) -> None:
    """It shares the network, and with it the socket's name, and sees other files."""
    container = container_of(*kinds)
    words = ["-v", "--home", str(served.home), "ls", f"count={tmp_path / 'count'}"]
    environment = served.environment | ({FORGED_VARIABLE: "yes"} if forged else {})
    ran = subprocess.run(
        [*container, *PROBE, "front", *words], env=environment, cwd=ROOT, capture_output=True, timeout=DEADLINE_S
    )
    assert ran.returncode == NOT_BY_AGENT
    why = (b"view of the system", b"another container", b"Permission") if not forged else (b"not by the agent",)
    assert any(reason in ran.stderr for reason in why), ran.stderr
    assert not (tmp_path / "count").exists()


def test_an_agent_in_another_container_is_no_process_here(place: Place) -> None:
    """Its number is 0 here, and a signal to 0 would go to the whole group of who sends it."""
    container = container_of("--pid", "--fork", "--mount-proc", "--kill-child")
    place.serve()
    code = (
        "import sys; from cli.background import running_agent, stop_agent;"
        " home = sys.argv[1]; stop_agent(home); print(running_agent(home))"
    )
    words = [*container, "setsid", "--wait", sys.executable, "-c", code, str(place.home)]
    ran = subprocess.run(words, env=place.environment, cwd=ROOT, capture_output=True, timeout=DEADLINE_S)
    assert (ran.returncode, ran.stdout) == (0, b"None\n"), ran.stderr
    assert place.run("status=0")[0] == 0
