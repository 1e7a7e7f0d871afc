"""Why a module of the user's does not import, told by the line or folder of theirs that is to blame."""

import sys
from pathlib import Path
from types import ModuleType

from actors import HeadraceError, TopologyError
from engine.cli.exits import CommandError
from engine.cli.frames import OURS, ROOT, is_ours, place_of, shown


def failed(error: BaseException, name: str, folder: Path) -> HeadraceError:
    """The error of a module that does not import, by the line of the user's that it comes from.

    What one of our own checks has to say is an error of the declaration, as it is where the topology is compiled.
    """
    if isinstance(error, TopologyError):
        return error if error.place else TopologyError(error.problem, remedy=error.remedy, place=place_of(error) or "")
    if isinstance(error, HeadraceError):
        return error
    if isinstance(error, ValueError | TypeError) and is_ours(error):
        return TopologyError(str(error), place=place_of(error) or name)
    if isinstance(error, ImportError) and error.name is not None:
        top = error.name.partition(".")[0]
        if top in OURS and _theirs(top, folder) is not None:
            return in_the_way(top, folder)
    place, what = place_of(error) or name, " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        what = error.msg
        place = f"{shown(Path(error.filename))}:{error.lineno}" if error.filename else place
    elif isinstance(error, SystemExit):
        what = "it ends the process when it is imported"
    return CommandError(
        f"{place}: {type(error).__name__}: {what:.300}", f"{name} cannot be imported until that is mended"
    )


def in_the_way(name: str, folder: Path) -> CommandError:
    """The error of a module that has the name of a package of ours."""
    theirs = _theirs(name, folder)
    if theirs is None:
        return CommandError(
            f"{name}: a package of Headrace, with no topology in it", "name a module of yours: module:topology"
        )
    return CommandError(
        f"{shown(theirs)} is in the way: Headrace has a package of its own called {name}",
        f"rename yours, for instance to my_{name}, or move it into a package",
    )


def _theirs(name: str, folder: Path) -> Path | None:
    """The folder or file of the user's that would be imported by that name, were it not for another one."""
    for place in (folder, *map(Path, sys.path)):
        for path in (place / name, place / f"{name}.py"):
            path = path.resolve()
            if path.exists() and path.parent != ROOT:
                return path
    return None


def check_not_another(module: ModuleType, name: str, folder: Path) -> None:
    """Refuse a module that was found elsewhere although the folder has one of that name."""
    relative = Path(*name.split("."))
    mine = next((path for path in (folder / relative, folder / f"{relative}.py") if path.exists()), None)
    found = getattr(module, "__file__", None)
    if mine is None or found is None or Path(found).resolve().is_relative_to(mine.resolve()):
        return
    remedy = f"rename yours, or name it by its path: {shown(mine)}" if mine.is_file() else "rename yours"
    raise CommandError(f"{shown(mine)} is hidden by another module of that name: {found}", remedy)
