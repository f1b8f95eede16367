"""The public names, and what an import costs: no heavy library in a fresh interpreter until a name needs it."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module

import pytest

import braindiffuser

HEAVY = ("torch", "matplotlib", "pandas", "transformers", "diffusers", "timm", "scipy", "sklearn", "zarr")


def loaded_by(module: str) -> set[str]:
    """Which heavy libraries a fresh interpreter holds after importing a module."""
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    return set(run.stdout.split())


def test_importing_the_package_is_cheap():
    assert loaded_by("braindiffuser") == set()


@pytest.mark.parametrize("module", ["images", "data.scenes", "store", "stages.report", "cli"])
def test_light_modules_load_neither_torch_nor_matplotlib(module):
    assert not loaded_by(f"braindiffuser.{module}") & {"torch", "matplotlib", "transformers", "diffusers", "timm"}


@pytest.mark.parametrize("module", ["part", "experiment"])
def test_experiments_are_cheap(module):
    assert loaded_by(f"braindiffuser.{module}") == set()


def test_the_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", braindiffuser.__version__)


@pytest.mark.parametrize("name", sorted(set(braindiffuser.__all__) - {"__version__"}))
def test_every_public_name_is_defined_where_it_says_and_documented(name):
    public = getattr(braindiffuser, name)
    assert public.__name__ == name
    assert public.__module__.startswith("braindiffuser.")
    assert inspect.getdoc(public)


def test_the_names_for_type_checkers_are_the_names_that_load():
    tree = ast.parse(inspect.getsource(braindiffuser))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert set(braindiffuser.__all__) == {*declared, "__version__"} == set(dir(braindiffuser))
    for name, module in declared.items():
        assert getattr(braindiffuser, name) is getattr(import_module(module), name)


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(AttributeError, match=r"no attribute 'Experimnet'; it has .*Experiment"):
        _ = braindiffuser.Experimnet
