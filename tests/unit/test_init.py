"""The public names, and what an import costs: no heavy library in a fresh interpreter until a name needs it."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import braindiffuser

HEAVY = ("torch", "matplotlib", "pandas", "transformers", "diffusers", "timm", "scipy", "sklearn", "zarr")
PACKAGES = (
    "",
    ".analyses",
    ".datasets",
    ".folder_scores",
    ".generators",
    ".metrics",
    ".networks",
    ".regression",
    ".report",
    ".sharing",
    ".store",
    ".targets",
)
PUBLIC = [(package, name) for package in PACKAGES for name in import_module(f"braindiffuser{package}").__all__]


def loaded_by(statement: str) -> set[str]:
    """Which heavy libraries a fresh interpreter holds after a statement."""
    code = f"import sys; {statement}; print(*[name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    return set(run.stdout.split())


def test_importing_the_package_and_its_subpackages_is_cheap():
    assert loaded_by("; ".join(f"import braindiffuser{package}" for package in PACKAGES)) == set()


@pytest.mark.parametrize(
    "module",
    [
        "images",
        "datasets.simulation.scenes",
        "metrics.feature_networks",
        "networks.published",
        "stages.report",
        "store.results",
    ],
)
def test_light_modules_load_neither_torch_nor_matplotlib(module):
    found = loaded_by(f"import braindiffuser.{module}")
    assert not found & {"torch", "matplotlib", "transformers", "diffusers", "timm"}


@pytest.mark.parametrize("module", ["part", "experiment", "cli"])
def test_experiments_and_commands_are_cheap(module):
    assert loaded_by(f"import braindiffuser.{module}") == set()


def test_reading_an_experiment_loads_no_large_library_and_little_memory():
    assert loaded_by("import braindiffuser; braindiffuser.Experiment.load('brain-diffuser')") == set()
    code = (
        "import braindiffuser, psutil; braindiffuser.Experiment.load('demo'); print(psutil.Process().memory_info().rss)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert int(run.stdout) < 150e6


def test_the_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", braindiffuser.__version__)


@pytest.mark.parametrize(("package", "name"), [pair for pair in PUBLIC if pair[1] != "__version__"])
def test_every_public_name_loads_and_is_documented(package, name):
    public = getattr(import_module(f"braindiffuser{package}"), name)
    if inspect.isfunction(public) or (isinstance(public, type) and public.__module__.startswith("braindiffuser")):
        assert public.__name__ == name
        assert public.__module__.startswith(f"braindiffuser{package}.")
        assert inspect.getdoc(public)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_hides_a_module_of_its_package(package):
    module = import_module(f"braindiffuser{package}")
    assert not set(module.__all__) & {path.stem for path in Path(module.__path__[0]).iterdir()}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_for_type_checkers_are_the_names_that_load(package):
    module = import_module(f"braindiffuser{package}")
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text())
    names = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names == set(module.__all__) - {"__version__"}


@pytest.mark.parametrize("example", sorted(Path("examples").rglob("*.py")), ids=lambda path: path.stem)
def test_examples_import_public_names_alone(example):
    """A public module lists its names; the modules of kinds are public too, since an experiment names them."""
    for node in ast.walk(ast.parse(example.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("braindiffuser"):
            module = import_module(str(node.module))
            if node.module != "braindiffuser.metrics.two_way_identification":
                assert {alias.name for alias in node.names} <= {*module.__all__, "images"}


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="braindiffuser attribute Experimnet"):
        _ = braindiffuser.Experimnet


def test_opening_a_run_takes_no_torch(tmp_path):
    code = (
        "import sys, braindiffuser;"
        "braindiffuser.Run.open(braindiffuser.Experiment.load('demo'), sys.argv[1]);"
        "assert 'torch' not in sys.modules, 'torch'"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=True)
