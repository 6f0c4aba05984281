"""Do to a pool what a schedule says, as long as the fault budget allows it, and undo what passes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import trio

from tests.sim.chance import derive
from tests.sim.drive import DiskFaults
from tests.sim.nemesis import CLIENT, Fault
from tests.sim.truth import Truth
from tests.sim.world import SimNode, World

# A disk error every few dozen calls: most commands meet one, few meet nothing else.
SICK_P = 0.03
SLOW_LAG_S = 1.0
SLOW_DISK_S = (0.05, 2.0)
USUAL_DISK_S = (0.0005, 0.02)
SLOW_NET_S = (0.1, 0.4)
USUAL_NET_S = (0.0005, 0.02)
# A power cut comes within so many disk operations, or not at all.
TEAR_OPERATIONS_MAX = 60
TEAR_WAIT_S = 120.0
# Some clocks are a little wrong, some are a day off.
SKEWS_S = (-90.0, 90.0, -3600.0, 3600.0, 86_400.0, -86_400.0)
# From here on a peer may take what is under way for something long abandoned.
SKEW_HURTS_S = 3600.0


class Nemesis:
    """Attributes:
    applied, skipped: faults by kind; skipped are those that the budget or the state of things forbade.
    lies: by peer, how it lies now.
    planted: damage to stored bytes.
    """

    def __init__(self, world: World, truth: Truth, note: Callable[[str], None]) -> None:
        self.world = world
        self.truth = truth
        self.applied: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.lies: dict[str, str] = {}
        self._note = note
        self._healed = False

    async def run(self, schedule: Sequence[Fault]) -> None:
        began_s = trio.current_time()
        for fault in schedule:
            await trio.sleep_until(began_s + fault.at_s)
            done = self._strike(fault)
            (self.applied if done else self.skipped)[fault.kind] += 1
            self._note(f"{'fault' if done else 'skipped'} {fault}")

    def _node(self, name: str) -> SimNode:
        return self.world.nodes[name]

    def _strike(self, fault: Fault) -> bool:
        chance = derive(fault.draw, "strike")
        nodes = [self._node(name) for name in fault.targets]
        match fault.kind:
            case "crash" | "kill" | "blackout" | "tear" | "away":
                return self._stop(fault, nodes, chance)
            case "rot" | "rot-papers" | "sector" | "vanish" | "swap" | "misread" | "lie":
                return self._damage(fault, fault.targets[0], chance)
            case "skew":
                return self._skew(fault, nodes[0], chance)
            case "freeze" | "partition" | "latency" | "loss":
                return self._disturb(fault, chance)
            case _:
                return self._sicken(fault, nodes[0])

    # --- machines ---------------------------------------------------------------------------------

    def _stop(self, fault: Fault, nodes: Sequence[SimNode], chance: random.Random) -> bool:
        alive = [node for node in nodes if node.is_up]
        for node in alive:
            if fault.kind == "tear":
                node.drive.crash_at = node.drive.operations + chance.randint(1, TEAR_OPERATIONS_MAX)
            elif fault.kind == "kill":
                node.kill()
            else:
                node.crash()
            self.world.nursery.start_soon(self._start_again, fault, node)
        return bool(alive)

    async def _start_again(self, fault: Fault, node: SimNode) -> None:
        if fault.kind == "tear":
            with trio.move_on_after(TEAR_WAIT_S):
                await self._wait_down(node)
            node.drive.crash_at = None
        await trio.sleep(fault.length_s)
        if not node.is_up and not self._healed:
            node.start()

    @staticmethod
    async def _wait_down(node: SimNode) -> None:
        while node.is_up:  # noqa: ASYNC110 - a machine that dies has no event to set
            await trio.sleep(1.0)

    # --- bytes and promises -----------------------------------------------------------------------

    def _damage(self, fault: Fault, name: str, chance: random.Random) -> bool:
        if not self.truth.may_lose(name):
            return False
        node = self._node(name)
        match fault.kind:
            case "swap":
                node.crash()
                for folder in ("shards", "manifests", "receipts", "quarantine", "incoming", "state", "journal"):
                    if node.drive.find(self.truth.path(name, folder)) is not None:
                        node.drive.remove(self.truth.path(name, folder))
                self.world.nursery.start_soon(self._start_again, fault, node)
            case "misread" | "lie":
                if self.truth.untrusted:
                    return False
                self._deceive(fault, name, node, chance)
            case _:
                folders = ("manifests", "receipts") if fault.kind == "rot-papers" else ("shards",)
                if not self.spoil(fault.kind, name, folders, chance):
                    return False
        self.truth.hurt(name)
        return True

    def spoil(self, kind: str, name: str, folders: Sequence[str], chance: random.Random) -> str:
        """Damage one stored file; its path, empty when there is none."""
        drive = self._node(name).drive
        paths = [path for folder in folders for path in drive.durable_paths(self.truth.path(name, folder))]
        paths = [path for path in paths if drive.live_bytes(path)]
        if not paths:
            return ""
        path = chance.choice(paths)
        at = chance.randrange(len(drive.live_bytes(path) or b""))
        if kind == "vanish":
            drive.remove(path)
        elif kind == "sector":
            drive.break_sector(path, at)
        else:
            drive.flip_bit(path, at, chance.randrange(8))
        return path

    def _deceive(self, fault: Fault, name: str, node: SimNode, chance: random.Random) -> None:
        self.truth.untrusted[name] = fault.kind
        if fault.kind == "lie":
            self.lies[name] = fault.how
        else:
            node.drive.misread = Misread(fault.how, node, chance)

        def undo() -> None:
            self.lies.pop(name, None)
            node.drive.misread = None
            self.truth.untrusted.pop(name, None)

        self._later(fault.length_s, undo)

    def _skew(self, fault: Fault, node: SimNode, chance: random.Random) -> bool:
        skew_s = chance.choice(SKEWS_S)
        hurts = abs(skew_s) >= SKEW_HURTS_S
        if hurts and not self.truth.may_lose(node.name):
            return False
        if hurts:
            self.truth.hurt(node.name)
        node.clock.skew_s = skew_s

        def undo() -> None:
            node.clock.skew_s = 0.0

        self._later(fault.length_s, undo)
        return True

    # --- network and disk errors ------------------------------------------------------------------

    def _disturb(self, fault: Fault, chance: random.Random) -> bool:
        fabric = self.world.fabric
        match fault.kind:
            case "freeze":
                name = fault.targets[0]
                if not self._node(name).is_up:
                    return False
                fabric.pause(name)
                self._later(fault.length_s, lambda: fabric.resume(name))
            case "partition":
                others = [name for name in self.world.nodes if name not in fault.targets]
                for name in fault.targets:
                    for other in chance.sample(others, chance.randint(1, len(others))):
                        fabric.partition(name, other, both_ways=fault.how != "one-way")
                self._later(fault.length_s, fabric.heal)
            case "latency":
                fabric.faults.latency_s = SLOW_NET_S
                self._later(fault.length_s, self._calm_network)
            case _:
                fabric.faults.reset_p = chance.choice((0.0, 0.01, 0.05))
                fabric.faults.corrupt_p = chance.choice((0.0, 0.01))
                fabric.faults.stall_p = chance.choice((0.0, 0.02, 0.1))
                self._later(fault.length_s, self._calm_network)
        return True

    def _calm_network(self) -> None:
        faults = self.world.fabric.faults
        faults.latency_s = USUAL_NET_S
        faults.reset_p = faults.corrupt_p = faults.stall_p = 0.0

    def _sicken(self, fault: Fault, node: SimNode) -> bool:
        drive, faults = node.drive, node.drive.faults
        match fault.kind:
            case "slow":
                self.world.fabric.lag_s[node.name] = SLOW_LAG_S
                node.threads.disk_cost_s = SLOW_DISK_S
            case "full":
                faults.capacity_bytes = drive.used_bytes
            case "read-only":
                faults.read_only = True
            case _:
                # A shard that cannot be read is set aside until it is mended, as if it were lost.
                if node.name != CLIENT and not self.truth.may_lose(node.name):
                    return False
                if node.name != CLIENT and self.truth.untrusted:
                    return False
                faults.read_error_p = faults.write_error_p = faults.sync_error_p = SICK_P
                if node.name != CLIENT:
                    self.truth.untrusted[node.name] = "sick"
                    self.truth.hurt(node.name)
        self._later(fault.length_s, lambda: self._cure(node))
        return True

    def _cure(self, node: SimNode) -> None:
        self.world.fabric.lag_s.pop(node.name, None)
        node.threads.disk_cost_s = USUAL_DISK_S
        well = DiskFaults()
        faults = node.drive.faults
        faults.capacity_bytes, faults.read_only = well.capacity_bytes, False
        faults.read_error_p = faults.write_error_p = faults.sync_error_p = 0.0
        if self.truth.untrusted.get(node.name) == "sick":
            del self.truth.untrusted[node.name]

    # --- the end ----------------------------------------------------------------------------------

    def _later(self, length_s: float, undo: Callable[[], None]) -> None:
        async def wait() -> None:
            await trio.sleep(length_s)
            if not self._healed:
                undo()

        self.world.nursery.start_soon(wait)

    def heal(self) -> None:
        """Everything passes now; every machine runs."""
        self._healed = True
        self.world.fabric.heal()
        self._calm_network()
        self.lies.clear()
        self.truth.untrusted.clear()
        for name, node in self.world.nodes.items():
            self.world.fabric.resume(name)
            self._cure(node)
            node.clock.skew_s = 0.0
            node.drive.misread = None
            node.drive.crash_at = None
            if not node.is_up:
                node.start()


class Misread:
    """What a sick controller makes of a read below the store; one in five."""

    def __init__(self, how: str, node: SimNode, chance: random.Random) -> None:
        self._how = how
        self._node = node
        self._chance = chance

    def __call__(self, path: str, offset: int, data: bytes) -> bytes:
        if not any(f"/{folder}/" in path for folder in ("shards", "manifests", "receipts")):
            return data
        if not data or self._chance.random() >= 0.2:
            return data
        match self._how:
            case "truncated":
                return data[: self._chance.randrange(len(data))]
            case "stale":
                old = self._node.drive.durable_bytes(path) or b""
                return old[offset : offset + len(data)] if self._chance.random() < 0.5 else bytes(len(data))
            case _:
                whole = self._node.drive.live_bytes(path) or data
                at = self._chance.randrange(len(whole))
                return (whole[at : at + len(data)] + bytes(len(data)))[: len(data)]
