"""The rules of the house that no single module can see: who may import whom, what is pure, how long is too long."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A layer imports only from layers before it.
LAYERS = ("core", "erasure", "anchor", "wire", "dht", "host", "client", "daemon", "cli")
PURE_LAYERS = ("core", "erasure", "anchor", "wire", "dht")
# These run in the simulator: disk, network, clock, threads and chance reach them through core.ports only.
PORTED_LAYERS = ("client", "daemon")

NETWORK = frozenset({"asyncio", "select", "selectors", "socket", "socketserver", "ssl"})
THREADS = frozenset({"concurrent", "multiprocessing", "subprocess", "threading"})
CLOCK_AND_CHANCE = frozenset({"random", "secrets", "time", "uuid"})
DISK = frozenset({"fcntl", "glob", "mmap", "os", "pathlib", "shutil", "sqlite3", "tempfile"})
# Names of otherwise pure modules: they are paths as values, nothing is touched.
PURE_NAMES = frozenset({"pathlib.PurePath", "pathlib.PurePosixPath"})
FORBIDDEN: dict[str, frozenset[str]] = {
    **dict.fromkeys(PURE_LAYERS, NETWORK | THREADS | CLOCK_AND_CHANCE | DISK | {"trio"}),
    **dict.fromkeys(PORTED_LAYERS, NETWORK | THREADS | CLOCK_AND_CHANCE | {"tempfile"}),
}
# Why each is no effect: the ports name trio.TaskStatus and random.Random as types; upkeep of the DHT is trio tasks; a
# mutex between jobs is never waited for in the simulator, whose jobs do not overlap; ISA-L is looked for beside the
# package that brings it.
ALLOWED = frozenset(
    {
        ("core/ports.py", "random"),
        ("core/ports.py", "trio"),
        ("dht", "trio"),
        ("daemon/mutex.py", "threading"),
        ("erasure/isal.py", "pathlib"),
    }
)
# What reaches the world without a forbidden import: built-ins, and methods of classes that are otherwise pure.
EFFECT_FUNCTIONS = frozenset({"open", "print", "input", "breakpoint"})
EFFECT_METHODS = frozenset({"generate", "generate_key", "now", "utcnow", "today", "random_serial_number"})

FUNCTION_MAX_LINES = 60
MODULE_MAX_LINES = 320
# A ratchet: the ceiling of each is its length when it was listed, and a module leaves the list when it fits.
LONG_MODULES: dict[str, int] = {}


@dataclass(frozen=True)
class Module:
    path: str
    """Relative to the repository, with forward slashes."""
    text: str
    tree: ast.Module

    @property
    def layer(self) -> str:
        return self.path.split("/")[0]


def read_modules(folders: tuple[str, ...]) -> list[Module]:
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    texts = [(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths]
    return [Module(path, text, ast.parse(text, path)) for path, text in texts]


MODULES = read_modules(LAYERS)
PROGRAMS = read_modules(("moorage", "benchmarks"))


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Dotted names with their lines; ``from a import b`` is ``a.b``."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{module.path}:{node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def test_every_layer_is_there() -> None:
    assert {module.layer for module in MODULES} == set(LAYERS)


def test_a_layer_imports_only_from_layers_below_it() -> None:
    wrong = [
        f"{module.path}:{line}: imports {name}"
        for module in MODULES
        for name, line in imports(module)
        if name.split(".")[0] in (*LAYERS[LAYERS.index(module.layer) + 1 :], "moorage", "tests", "benchmarks")
    ]
    assert not wrong, "\n".join(wrong)


def _is_allowed(module: Module, name: str) -> bool:
    top = name.split(".")[0]
    return name in PURE_NAMES or (module.path, top) in ALLOWED or (module.layer, top) in ALLOWED


def test_pure_layers_import_nothing_that_reaches_the_world() -> None:
    wrong = [
        f"{module.path}:{line}: imports {name}"
        for module in MODULES
        for name, line in imports(module)
        if name.split(".")[0] in FORBIDDEN.get(module.layer, frozenset()) and not _is_allowed(module, name)
    ]
    assert not wrong, "\n".join(wrong)


def _effect(call: ast.Call) -> str:
    """What the call is named if it reaches the world; empty for a method of a port (``self._clock.now()``)."""
    match call.func:
        case ast.Name(id=name) if name in EFFECT_FUNCTIONS:
            return name
        case ast.Attribute(value=owner, attr=name) if name in EFFECT_METHODS:
            last = ast.unparse(owner).split(".")[-1]
            return f"{last}.{name}" if last[0].isupper() or last in {"datetime", "date", "x509"} else ""
        case _:
            return ""


def test_pure_layers_call_nothing_that_reaches_the_world() -> None:
    wrong = [
        f"{module.path}:{node.lineno}: calls {_effect(node)}()"
        for module in MODULES
        if module.layer in PURE_LAYERS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _effect(node)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_keeps_state_in_a_module_or_acts_when_it_is_collected() -> None:
    wrong: list[str] = []
    for module in MODULES:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Global):
                wrong.append(f"{module.path}:{node.lineno}: global statement")
            if isinstance(node, ast.FunctionDef) and node.name == "__del__":
                wrong.append(f"{module.path}:{node.lineno}: __del__")
        for statement in module.tree.body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=value)
                ) if isinstance(value, ast.List | ast.Set | ast.Dict) and not name.isupper() and name != "__all__":
                    wrong.append(f"{module.path}:{statement.lineno}: {name} is a mutable module variable")
                case _:
                    pass
    assert not wrong, "\n".join(wrong)


def test_errors_are_declared_in_one_file() -> None:
    wrong = [
        f"{module.path}:{node.lineno}: {node.name}"
        for module in MODULES
        if module.path != "core/errors.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    ]
    assert not wrong, "\n".join(wrong)


def test_a_function_fits_on_a_screen() -> None:
    wrong = [
        f"{module.path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_MAX_LINES}"
        for module in MODULES + PROGRAMS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_MAX_LINES
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", MODULES + PROGRAMS, ids=lambda module: module.path)
def test_a_module_fits_in_the_head(module: Module) -> None:
    length = len(module.text.splitlines())
    assert length <= LONG_MODULES.get(module.path, MODULE_MAX_LINES)


def test_the_list_of_long_modules_only_shrinks() -> None:
    lengths = {module.path: len(module.text.splitlines()) for module in MODULES + PROGRAMS}
    assert [path for path in LONG_MODULES if lengths.get(path, 0) <= MODULE_MAX_LINES] == []


EXEMPTION = re.compile(r"type: ignore\b|pragma: no cover|noqa\b|pyright: ignore\b|except (Base)?Exception\b")
DIRECTIVE = re.compile(r"type: ignore(\[[\w, -]*\])?|pragma: no cover|noqa(: ?[A-Z0-9, ]+)?|pyright: ignore(\[\w*\])?")


def _is_explained(lines: list[str], number: int) -> bool:
    """Three words of comment on the line itself, the one above or the one below."""
    near = lines[max(0, number - 1) : number + 2]
    return any(len(DIRECTIVE.sub("", line.partition("#")[2]).split()) >= 3 for line in near)


def test_an_exemption_from_a_check_says_why() -> None:
    wrong = [
        f"{module.path}:{number + 1}: {line.strip()}"
        for module in MODULES
        for lines in [module.text.splitlines()]
        for number, line in enumerate(lines)
        if EXEMPTION.search(line) and not _is_explained(lines, number)
    ]
    assert not wrong, "\n".join(wrong)


def test_comments_promise_no_future_work() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert [module.path for module in MODULES + PROGRAMS if unfinished.search(module.text)] == []


def test_our_names_are_ours() -> None:
    """The layers are flat import packages in a checkout: a neighbour or the standard library must not own one."""
    owners = importlib.metadata.packages_distributions()
    assert {name: owners[name] for name in LAYERS if name in owners} == {}
    assert set(LAYERS) & sys.stdlib_module_names == set()
