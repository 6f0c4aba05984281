"""A Tahoe-LAFS grid on loopback: an introducer, storage nodes and a client node, each a process of its own."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

from benchmarks.processes import Commands, files_since, folder_bytes, free_ports

COMMAND_DEADLINE_S = 60
START_DEADLINE_S = 90
STOP_DEADLINE_S = 20
TRANSFER_DEADLINE_S = 3600
COPY_BYTES = 1 << 18
ALIAS = "benchmark"


@dataclass(frozen=True, slots=True)
class Node:
    folder: Path
    process: subprocess.Popen[bytes]


class TahoeGrid:
    """``needed`` of ``total`` shares on ``total`` storage nodes; bytes go through the client node's HTTP gateway.

    The gateway is the fastest door that Tahoe has: no process starts for a put or a get.
    """

    name = "tahoe"
    version = "1.20.0"

    def __init__(self, command: Path, folder: Path, *, needed: int, total: int, nodes: int = 0) -> None:
        """``nodes``: storage nodes, where more than ``total`` are wanted."""
        self._command = command
        self._folder = folder
        self._needed, self._total = needed, total
        self._servers = max(nodes, total)
        self._nodes: list[Node] = []
        self._web_port = 0
        self._dead: set[int] = set()
        self._late: dict[int, Callable[[int], int]] = {}
        self.gateway_bytes = 0
        self.commands = Commands()

    def start(self) -> None:
        """Returns when the client is connected to every storage node."""
        self._folder.mkdir()
        introducer_port, self._web_port, *ports = free_ports(2 + 2 * self._servers)
        introducer = self._create("introducer", "create-introducer", *_listen(introducer_port))
        self._run(introducer)
        furl_path = introducer / "private" / "introducer.furl"
        _wait("the introducer", lambda: furl_path.is_file() and furl_path.read_text().strip() != "")
        furl = furl_path.read_text().strip()
        common = self._common("storage-1", furl, ports[1])
        first = self._create("storage-1", "create-node", *common, *_listen(ports[0]))
        for number in range(self._servers):
            self._run(self._twin(first, ports[:2], number + 1, ports[2 * number :][:2]))
        shares = (f"--shares-needed={self._needed}", f"--shares-happy={self._total}", f"--shares-total={self._total}")
        self._run(self._create("client", "create-client", *self._common("client", furl, self._web_port), *shares))
        _wait("all storage nodes", lambda: self._connected() == self._alive)
        self._run_client("create-alias", ALIAS)

    def _common(self, name: str, furl: str, web_port: int) -> tuple[str, ...]:
        return ("--introducer", furl, "--nickname", name, "--webport", f"tcp:{web_port}:interface=127.0.0.1")

    def _create(self, name: str, *words: str) -> Path:
        self.commands.output([self._command, *words, self._folder / name], deadline_s=COMMAND_DEADLINE_S)
        return self._folder / name

    def _twin(self, first: Path, its_ports: Sequence[int], number: int, ports: Sequence[int]) -> Path:
        """A node like ``first``, which has not run yet and has no keys: to have Tahoe make one takes seconds."""
        folder = self._folder / f"storage-{number}"
        if folder != first:
            shutil.copytree(first, folder)
            settings = (folder / "tahoe.cfg").read_text().replace(first.name, folder.name)
            for old, new in zip(its_ports, ports, strict=True):
                settings = settings.replace(f":{old}", f":{new}")
            (folder / "tahoe.cfg").write_text(settings)
        if number in self._late:
            place = f"tub.location = tcp:127.0.0.1:{ports[0]}"
            late = f"tub.location = tcp:127.0.0.1:{self._late[number](ports[0])}"
            (folder / "tahoe.cfg").write_text((folder / "tahoe.cfg").read_text().replace(place, late))
        return folder

    def delay(self, number: int, late: Callable[[int], int]) -> None:
        """Before the start: have everybody reach that storage node, from 1, at the port that ``late`` gives."""
        self._late[number] = late

    def kill(self, number: int) -> None:
        """The storage node of that number, from 1, dies, and the client knows."""
        node = self._nodes[number]
        node.process.kill()
        node.process.wait()
        self._dead.add(number)
        _wait("the end of a storage node", lambda: self._connected() == self._alive)

    def revive(self) -> None:
        """Returns when all that were killed are connected again."""
        for number in sorted(self._dead):
            self._nodes[number] = self._launch(self._nodes[number].folder)
        self._dead.clear()
        _wait("the storage nodes again", lambda: self._connected() == self._alive)

    @property
    def _alive(self) -> int:
        return self._servers - len(self._dead)

    def _run(self, folder: Path) -> None:
        self._nodes.append(self._launch(folder))

    def _launch(self, folder: Path) -> Node:
        with Path(f"{folder}.log").open("ab") as log:
            # Not its own standard input: Tahoe's nodes end when that closes.
            words: list[str | Path] = [self._command, "run", "--allow-stdin-close", folder]
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        return Node(folder, process)

    def _connected(self) -> int:
        for node in self._living:
            if node.process.poll() is not None:
                raise SystemExit(f"a Tahoe node ended by itself: see {node.folder}.log")
        try:
            with self._request("GET", "/?t=json", deadline_s=5) as answer:
                servers = json.load(answer)["servers"]
        except (OSError, http.client.HTTPException):
            return 0
        return sum(server["connection_status"].lower().startswith("connected") for server in servers)

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        *,
        source: Path | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float = TRANSFER_DEADLINE_S,
    ) -> Generator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self._web_port, timeout=deadline_s)
        try:
            if source is None:
                connection.request(method, path, headers=dict(headers or {}))
            else:
                with source.open("rb") as body:
                    size = str(source.stat().st_size)
                    connection.request(method, path, body=body, headers={"Content-Length": size})
            answer = connection.getresponse()
            if answer.status >= http.client.BAD_REQUEST:
                raise SystemExit(f"tahoe: {method} {path[:20]}: {answer.status} {answer.read(500)!r}")
            yield answer
        finally:
            connection.close()

    @property
    def _storage(self) -> list[Node]:
        return self._nodes[1:-1]

    @property
    def peer_pids(self) -> list[int]:
        """The introducer is one: nothing is found without it."""
        return [node.process.pid for node in self._living[:-1]]

    @property
    def _living(self) -> list[Node]:
        return [node for number, node in enumerate(self._nodes) if number not in self._dead]

    @property
    def client_pids(self) -> list[int]:
        return [node.process.pid for node in self._nodes[-1:]]

    def _run_client(self, *words: str | Path, stdin: str = "") -> str:
        command = [self._command, "-d", self._folder / "client", *words]
        return self.commands.output(command, deadline_s=TRANSFER_DEADLINE_S, words=stdin)

    def put(self, source: Path) -> str:
        """The read capability of what was stored."""
        with self._request("PUT", "/uri", source=source) as answer:
            self.gateway_bytes += source.stat().st_size
            return answer.read().decode()

    def get(self, stored: str, folder: Path) -> Path:
        """The restored file."""
        folder.mkdir()
        target = folder / "restored"
        with self._request("GET", f"/uri/{stored}") as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file, COPY_BYTES)
        self.gateway_bytes += target.stat().st_size
        return target

    def put_tree(self, source: Path) -> str:
        """The snapshot's name below the alias."""
        name = f"{ALIAS}:{source.name}"
        self._run_client("backup", source, name)
        return name

    def get_tree(self, stored: str, folder: Path) -> Path:
        folder.mkdir()
        self._run_client("cp", "--recursive", f"{stored}/Latest/", folder)
        # Since 1.13 the folder itself is copied too, under its own name.
        inside = folder / "Latest"
        return inside if inside.is_dir() else folder

    def read(self, stored: str, byte_range: tuple[int, int] | None = None) -> Generator[bytes]:
        """Pieces of a file, or of the bytes from the first to the second of ``byte_range``, both included."""
        headers = {} if byte_range is None else {"Range": f"bytes={byte_range[0]}-{byte_range[1]}"}
        with self._request("GET", f"/uri/{quote(stored)}", headers=headers) as answer:
            while piece := answer.read1(COPY_BYTES):
                yield piece

    def inside(self, stored: str, path: str) -> str:
        """What ``read`` takes for a file in a folder that ``put_tree`` stored."""
        aliases = (self._folder / "client" / "private" / "aliases").read_text().split()
        root = aliases[aliases.index(f"{ALIAS}:") + 1]
        return f"{root}/{stored.removeprefix(f'{ALIAS}:')}/Latest/{path}"

    def verify(self, stored: str) -> None:
        """The client fetches every share and checks it."""
        self._check(stored, "verify=true")

    def lose_holder(self, since_s: float) -> int:
        """The first storage node loses its new shares."""
        lost = files_since(self._storage[0].folder / "storage" / "shares", since_s)
        for path in lost:
            path.unlink()
        return len(lost)

    def repair(self, stored: str) -> None:
        answer = self._check(stored, "repair=true")
        if not answer.get("repair-successful"):
            raise SystemExit(f"tahoe did not repair: {answer.get('summary')}")

    def _check(self, stored: str, words: str) -> dict[str, object]:
        with self._request("POST", f"/uri/{stored}?t=check&output=JSON&{words}") as answer:
            found = cast(dict[str, object], json.load(answer))
        results = cast(dict[str, object], found.get("post-repair-results") or found)
        if not cast(dict[str, object], results["results"])["healthy"]:
            raise SystemExit(f"tahoe: a file is not healthy after {words}: {results.get('summary')}")
        return found

    def stored_bytes(self) -> int:
        return folder_bytes(node.folder / "storage" / "shares" for node in self._storage)

    def pause(self) -> None:
        """Freeze the nodes: they ask one another for a sign of life every second, which costs the others CPU."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Returns when the client is connected to every storage node again, and a little later."""
        self._signal(signal.SIGCONT)
        # The client learns of a lost connection only when its next sign of life is due.
        time.sleep(2)
        _wait("all storage nodes again", lambda: self._connected() == self._alive)

    def stop(self) -> None:
        """Ends every process of the grid."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        for node in self._nodes:
            try:
                node.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for node in self._nodes:
            if node.process.poll() is None:
                node.process.send_signal(number)


def _listen(port: int) -> tuple[str, ...]:
    return ("--port", f"tcp:{port}:interface=127.0.0.1", "--location", f"tcp:127.0.0.1:{port}")


def _wait(what: str, is_there: Callable[[], bool]) -> None:
    give_up = time.monotonic() + START_DEADLINE_S
    while not is_there():
        if time.monotonic() > give_up:
            raise SystemExit(f"tahoe: {what} not there after {START_DEADLINE_S} s")
        time.sleep(0.1)
