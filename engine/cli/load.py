"""From a target on the command line to the `Topology` that it names, or to a clear word on why there is none."""

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from engine.cli.blame import check_not_another, failed, in_the_way
from engine.cli.exits import CommandError
from engine.cli.frames import OURS, shown
from topologies import Graph, Topology


@dataclass(frozen=True, slots=True)
class Target:
    """`module:name` or `path/to/file.py:name`; without the name, the only topology there is."""

    text: str
    place: str
    name: str

    @property
    def path(self) -> Path | None:
        """The file, where one is meant and not a module."""
        meant = self.place.endswith(".py") or "/" in self.place or os.sep in self.place
        return Path(self.place) if meant else None


def parse(text: str) -> Target:
    """Read a target. A colon of a Windows drive is no name's."""
    place, colon, name = text.rpartition(":")
    if not colon or name.startswith(("/", "\\")):
        place, colon, name = text, "", ""
    target = Target(text, place, name)
    words = ([] if target.path else place.split(".")) + (name.split(".") if colon else [])
    if not place or not all(word.isidentifier() for word in words):
        raise CommandError(f"{text!r}: not a target", "write module:topology or path/to/file.py:topology")
    return target


def load(text: str, folder: Path) -> Topology:
    """Import the module or file and return the topology meant.

    The folder comes last on `sys.path`, so that nothing in it hides an installed package.
    Raises `CommandError`, and whatever `TopologyError` the declarations in it raise.
    """
    target = parse(text)
    _append_path(folder)
    module = _by_name(target.place, folder) if target.path is None else _by_path(target.path, folder)
    return _topology_in(module, target)


def load_graphs(targets: list[str], folder: Path) -> list[Graph]:
    """The compiled graphs of several targets; two of one name are refused, since their consumer groups would mix."""
    graphs: dict[str, Graph] = {}
    for text in targets:
        graph = load(text, folder).graph()
        if graph.name in graphs:
            raise CommandError(
                f"{text}: a topology called {graph.name} is among the targets already",
                "name each target once, and give each Topology a name of its own",
            )
        graphs[graph.name] = graph
    return list(graphs.values())


# -- importing -----------------------------------------------------------------------------------------------


def _by_name(name: str, folder: Path) -> ModuleType:
    top = name.partition(".")[0]
    if top in OURS:
        raise in_the_way(top, folder)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise CommandError(
                f"{name}: there is no such module in {shown(folder)}, nor is one installed",
                "check the name, or say where it is with --app-dir",
            ) from error
        raise failed(error, name, folder) from error
    except (Exception, SystemExit) as error:
        raise failed(error, name, folder) from error
    check_not_another(module, name, folder)
    return module


def _by_path(path: Path, folder: Path) -> ModuleType:
    path = path if path.exists() else folder / path
    if not path.is_file() or path.suffix != ".py":
        problem = "not a Python file" if path.exists() else "there is no such file"
        raise CommandError(f"{shown(path)}: {problem}", "write path/to/file.py or path/to/file.py:topology")
    path = path.resolve()
    root, names = path.parent, [path.stem]
    while (root / "__init__.py").exists():
        names.insert(0, root.name)
        root = root.parent
    _append_path(root)
    if len(names) > 1:
        return _by_name(".".join(names), root)
    found = _find(path.stem)
    if found == path:
        return _by_name(path.stem, folder)
    return _from_file(path, folder)


def _from_file(path: Path, folder: Path) -> ModuleType:
    """Load a file whose name, as a module's, means another one."""
    name = f"headrace_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise failed(error, shown(path), folder) from error
    return module


def _find(name: str) -> Path | None:
    """The file that a module of that name is imported from."""
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None


def _append_path(folder: Path) -> None:
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.append(place)


# -- the attribute -------------------------------------------------------------------------------------------


def _topology_in(module: ModuleType, target: Target) -> Topology:
    there = {name: value for name, value in vars(module).items() if isinstance(value, Topology)}
    found: object = module
    if not target.name:
        return _only(there, target)
    for part in target.name.split("."):
        if not hasattr(found, part):
            raise CommandError(f"{target.place} has no {target.name}", _listed(there, target))
        found = getattr(found, part)
    if isinstance(found, Topology):
        return found
    if callable(found):
        raise CommandError(
            f"{target.text} is no Topology, it is a {type(found).__name__}; what makes one is not called for you",
            f"call it in the module: topology = {target.name}()",
        )
    raise CommandError(f"{target.text} is no Topology, it is of type {type(found).__name__}", _listed(there, target))


def _only(there: dict[str, Topology], target: Target) -> Topology:
    if len({id(topology) for topology in there.values()}) == 1:
        return next(iter(there.values()))
    if "topology" in there:
        return there["topology"]
    problem = "has several topologies" if there else "has no topology"
    raise CommandError(f"{target.place} {problem}", _listed(there, target))


def _listed(there: dict[str, Topology], target: Target) -> str:
    if not there:
        return 'write one in it: topology = Topology("orders")'
    return "name one that it has: " + ", ".join(f"{target.place}:{name}" for name in there)
