"""Sees to it that `actors`, `topologies` and `engine` are ours: a folder of the user's may have such a name too."""

import sys
from importlib.util import find_spec
from pathlib import Path


def check() -> None:
    """Say so where another module of such a name comes first on `sys.path`.

    Raises `ImportError`; the command, which nobody imports, says it on stderr and ends with exit code 2.
    """
    root = Path(__file__).resolve().parents[1]
    for name in ("actors", "topologies", "engine"):
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            continue
        path = Path(spec.origin).resolve()
        found = path.parent if path.name == "__init__.py" else path
        if found == root / name:
            continue
        problem = f"{found} is in the way: Headrace has a package of its own called {name}"
        remedy = f"rename yours, for instance to my_{name}, or take its folder out of PYTHONPATH"
        if _is_command():
            print(f"headrace: {problem}\n  {remedy}", file=sys.stderr)
            raise SystemExit(2)
        raise ImportError(f"{problem}; {remedy}", name=name, path=str(found))


def _is_command() -> bool:
    by_module = sys.argv[:1] == ["-m"] and "headrace" in sys.orig_argv
    return by_module or Path(sys.argv[0] if sys.argv else "").stem == "headrace"
