"""What `actors` exports exists, is documented, and imports nothing from outside but anyio."""

import ast
import inspect
import pkgutil
import sys
from importlib import import_module
from pathlib import Path

import pytest

import actors

MODULES = [f"actors.{each.name}" for each in pkgutil.iter_modules(actors.__path__)]


def public(module):
    """The classes and functions that a module makes and does not call private."""
    for name, value in vars(module).items():
        made_here = getattr(value, "__module__", None) == module.__name__
        if made_here and not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
            yield name, value


def test_every_exported_name_exists_once_and_in_order():
    assert len(set(actors.__all__)) == len(actors.__all__)
    for name in actors.__all__:
        assert hasattr(actors, name)
    constants = [name for name in actors.__all__ if name.isupper()]
    assert constants + sorted(set(actors.__all__) - set(constants)) == actors.__all__


def test_nothing_is_imported_into_the_package_that_is_not_exported():
    names = {name for name, value in vars(actors).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert names == set(actors.__all__)


@pytest.mark.parametrize("name", ["actors", *MODULES])
def test_every_module_says_in_one_line_what_lives_in_it(name):
    first = (import_module(name).__doc__ or "").splitlines()[0]
    assert first.endswith((".", ":"))


@pytest.mark.parametrize("name", actors.__all__)
def test_every_exported_name_is_documented(name):
    value = getattr(actors, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        own = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
        assert own
        assert not own.startswith(f"{name}("), "the docstring that a dataclass makes by itself"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_of_a_module_is_documented(name):
    for _, value in public(import_module(name)):
        assert inspect.getdoc(value)
        assert not (value.__doc__ or "").startswith(f"{value.__name__}(")


@pytest.mark.parametrize("name", actors.__all__)
def test_every_public_method_is_documented_here_or_where_it_comes_from(name):
    value = getattr(actors, name)
    if not inspect.isclass(value):
        return
    for each, method in vars(value).items():
        if not each.startswith("_") and (inspect.isfunction(method) or isinstance(method, property)):
            assert inspect.getdoc(getattr(value, each)), f"{name}.{each}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_the_standard_library_anyio_and_its_own_floor(name):
    source = Path(import_module(name).__file__ or "").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        imported = []
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module != "actors", "inside the package: by the owning module"
            imported = [node.module or ""]
        for each in imported:
            assert each.split(".")[0] in {"anyio", "actors", *sys.stdlib_module_names}
