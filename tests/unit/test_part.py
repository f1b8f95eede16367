"""Laws of parts: a kind is a file, what a file says is checked entry by entry, and nobody's code is run on the way."""

import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path, PureWindowsPath

import pytest
import yaml
from pydantic import Field, ValidationError
from pydantic_core import PydanticCustomError

from braindiffuser.analyses.analysis import Analysis
from braindiffuser.analyses.curve import Over
from braindiffuser.datasets.dataset import Dataset, Unit
from braindiffuser.generators.generator import Generator
from braindiffuser.metrics.metric import Metric
from braindiffuser.part import Settings, _influences, as_part, is_runtime, kind_of, known_kinds, runtime
from braindiffuser.regression.regressor import Regressor
from braindiffuser.splits.split import Split
from braindiffuser.targets.target import Target

FAMILIES = (Dataset, Split, Target, Regressor, Generator, Metric, Analysis)
KINDS = [(family, kind) for family in FAMILIES for kind in known_kinds(family)]
NAMES = [f"{family.__module__.rpartition('.')[2]}.{kind}" for family, kind in KINDS]


def module_of(family, kind):
    return f"{family.__module__.rpartition('.')[0]}.{kind}"


VALUES = {Path: "a/folder", str: "a name", Unit: "percent", Over: "rank", int: 3}
"""A valid value by its type; a list of files may be one path."""
HEAVY = ("torch", "torchvision", "diffusers", "transformers", "timm", "sklearn", "skimage", "matplotlib")
LIGHT_TOO = ("pandas", "scipy", "h5py", "nibabel", "zarr", "tokenizers")

EXTRACT = """    def extract(self, stimuli, networks, seed):
        return None
"""
OUTSIDE = """
from pathlib import Path
import braindiffuser.targets

(Path(__file__).parent / "executed").touch()


class Base(braindiffuser.targets.Target):
    size: int = 32


class Depth(Base):
    def extract(self, stimuli, networks, seed):
        return None


def function():
    (Path(__file__).parent / "called").touch()


def __getattr__(name):
    (Path(__file__).parent / "asked").touch()
    return Depth
"""


class Inner(Settings):
    number: int = 0
    word: str = "x"


class Outer(Settings):
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = Field({})
    batch_size: int = runtime(4, description="Together.", gt=0)


def class_of(family, kind):
    module = import_module(module_of(family, kind))
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, family) and value.__module__ == module.__name__
    ]
    assert len(found) == 1, "one file is one kind"
    return found[0]


def entries_of(family, kind):
    """The shortest mapping that a kind accepts."""
    fields = class_of(family, kind).model_fields.items()
    return {"kind": kind} | {
        name: VALUES.get(field.annotation, "a/file") for name, field in fields if field.is_required()
    }


def faults(error):
    return {".".join(map(str, fault["loc"])): fault["msg"] for fault in error.errors()}


@pytest.fixture
def my_lab(tmp_path, monkeypatch):
    """A package of somebody else's, that is not imported."""
    folder = tmp_path / "my_lab"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "depth.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in ("my_lab", "my_lab.depth", "my_lab.draws"):
        sys.modules.pop(name, None)


# Entries


def test_an_empty_path_is_not_the_working_folder():
    with pytest.raises(ValidationError, match="is empty: name a folder"):
        as_part(Dataset, {"kind": "nsd", "root": ""})
    assert as_part(Dataset, {"kind": "nsd", "root": "."}).root == Path.cwd()


# Kinds


def test_every_family_has_kinds():
    assert {family for family, _ in KINDS} == set(FAMILIES)
    assert {"nsd", "simulated", "arrays", "bold5000", "bdata", "things"} <= set(known_kinds(Dataset))
    assert {"clip_text", "clip_vision", "vdvae"} == set(known_kinds(Target))


@pytest.mark.parametrize(("family", "kind"), KINDS, ids=NAMES)
def test_a_file_in_a_familys_folder_is_a_kind(family, kind):
    part = as_part(family, entries_of(family, kind))
    assert type(part) is class_of(family, kind)
    assert part.kind == kind == kind_of(type(part))


@pytest.mark.parametrize(("family", "kind"), KINDS, ids=NAMES)
def test_a_file_holds_one_kind(family, kind):
    module = import_module(module_of(family, kind))
    own = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__]
    assert sum(issubclass(each, family) and not inspect.isabstract(each) for each in own) == 1


def test_files_that_begin_with_an_underscore_are_no_kinds():
    assert not [kind for _, kind in KINDS if kind.startswith("_")]
    assert (Path(inspect.getfile(Metric)).parent / "_pixels.py").is_file()


@pytest.mark.parametrize(("family", "kind"), KINDS, ids=NAMES)
def test_every_kind_is_documented(family, kind):
    part = class_of(family, kind)
    assert part.__doc__
    assert inspect.getdoc(import_module(part.__module__))


@pytest.mark.parametrize(("family", "kind"), KINDS, ids=NAMES)
def test_folder_entries_are_entries(family, kind):
    part = class_of(family, kind)
    assert set(part.folder_entries) <= {n for n, field in part.model_fields.items() if field.annotation is Path}


@pytest.mark.parametrize(
    "code", ["", "; from braindiffuser.experiment import Experiment; [Experiment.load(p) for p in P]"]
)
def test_parts_and_experiments_are_light_to_import(code):
    modules = ", ".join(module_of(family, kind) for family, kind in KINDS)
    presets = "; P = ('demo', 'brain-diffuser')"
    told = f"; print(*[name for name in {HEAVY + LIGHT_TOO} if name in sys.modules])"
    command = [sys.executable, "-c", f"import sys, {modules}{presets}{code}{told}"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == []


# Files


@pytest.mark.parametrize(("family", "kind"), KINDS, ids=NAMES)
def test_a_part_survives_its_file(family, kind, changes):
    part = as_part(family, entries_of(family, kind))
    for one in (part, *(changed.config for changed in changes(part))):
        as_json, as_yaml = one.model_dump_json(), yaml.safe_dump(one.model_dump(mode="json"))
        for content in (json.loads(as_json), yaml.safe_load(as_yaml), one.model_dump()):
            assert content["kind"] == kind
            assert as_part(family, content) == one


def test_a_part_stays_as_it_is():
    part = as_part(Regressor, {"kind": "ridge"})
    assert as_part(Regressor, part) is part


@pytest.mark.parametrize(("family", "kind"), KINDS, ids=NAMES)
def test_unknown_entries_are_answered_with_the_known_ones(family, kind):
    with pytest.raises(ValidationError) as caught:
        as_part(family, entries_of(family, kind) | {"sped": 3, "zise": 4})
    known = ", ".join(class_of(family, kind).model_fields)
    told = faults(caught.value)
    assert {name: told[name] for name in ("sped", "zise")} == dict.fromkeys(
        ("sped", "zise"), f"there is no such entry; known entries: {known}"
    )


def test_all_faults_are_listed_at_their_places():
    content = {
        "inner": {"nmuber": 1, "number": "many"},
        "many": [{}, {"wrod": "x"}],
        "named": {"one": {"word": 3}},
        "batch_size": 0,
        "uoter": 1,
    }
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    told = faults(caught.value)
    assert set(told) == {"inner.number", "inner.nmuber", "many.1.wrod", "named.one.word", "batch_size", "uoter"}
    inner, outer = "known entries: number, word", "known entries: inner, many, named, batch_size"
    assert told["inner.nmuber"] == f"there is no such entry; {inner}; did you mean number?"
    assert told["many.1.wrod"] == f"there is no such entry; {inner}"
    assert told["uoter"] == f"there is no such entry; {outer}"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"kind": "no_such"}, "there is no kind no_such; known kinds: {known}, or module:Class of your own"),
        ({"kind": "../datasets/nsd"}, "there is no kind ../datasets/nsd; known kinds: {known}"),
        ({"size": 3}, "kind is missing; known kinds: {known}"),
        ({"kind": 3}, "kind must be text; known kinds: {known}"),
        (3, "expected a mapping with its kind, such as kind: {first}"),
        (None, "expected a mapping with its kind"),
    ],
)
def test_what_is_no_kind_is_answered_with_the_kinds(family, content, words):
    known = known_kinds(family)
    with pytest.raises(PydanticCustomError) as caught:
        as_part(family, content)
    assert caught.value.message().startswith(words.format(known=", ".join(known), first=known[0]))


def test_a_class_refuses_the_kind_of_another():
    ridge = type(as_part(Regressor, {"kind": "ridge"}))
    assert ridge(kind="ridge") == ridge()
    with pytest.raises(ValidationError, match="kind is lasso, but this part is ridge"):
        ridge(kind="lasso")


def test_parts_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        as_part(Regressor, {"kind": "ridge"}).n_folds = 3


# Identity


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("family", "kind"), KINDS, ids=NAMES)
def test_all_entries_but_those_of_run_time_enter_the_identity(family, kind, device, changes):
    part = as_part(family, entries_of(family, kind))
    for changed in changes(part):
        same = changed.config.influences(device) == part.influences(device)
        same = same and changed.config.checkpoints == part.checkpoints
        in_force = device != "cpu" or changed.name != "diffusion.precision"  # half is float32 on a CPU
        assert same == (changed.runtime or not in_force), changed.name


@pytest.mark.parametrize(("family", "kind"), KINDS, ids=NAMES)
def test_identities_are_json_and_begin_with_the_kind(family, kind):
    influences = as_part(family, entries_of(family, kind)).influences("cpu")
    assert json.loads(json.dumps(influences)) == influences
    assert influences["kind"] == kind


def test_what_is_declared_for_run_time_is_known_as_such():
    marked = {name: is_runtime(field.json_schema_extra) for name, field in Outer.model_fields.items()}
    assert marked == {"inner": False, "many": False, "named": False, "batch_size": True}
    assert Outer(named={"a": Inner()}, many=(Inner(number=2),)).influences("cpu") == {
        "inner": {"number": 0, "word": "x"},
        "many": [{"number": 2, "word": "x"}],
        "named": {"a": {"number": 0, "word": "x"}},
    }


# Classes of others


def test_a_class_outside_is_used_only_if_its_module_is_imported(my_lab):
    words = r"my_lab.depth:Depth is in a module that is not imported: name it with --with my_lab.depth"
    for package in (None, "my_lab"):
        if package:
            import_module(package)
        with pytest.raises(PydanticCustomError, match=words):
            as_part(Target, {"kind": "my_lab.depth:Depth"})
        assert not (my_lab / "executed").exists()
    depth = import_module("my_lab.depth").Depth
    part = as_part(Target, {"kind": "my_lab.depth:Depth", "size": 8})
    assert part == depth(size=8)


def test_a_class_outside_survives_its_file_whatever_its_own_package_holds(my_lab):
    (my_lab / "__init__.py").write_text(OUTSIDE.split("class Depth")[0])
    (my_lab / "depth.py").write_text("from my_lab import Base\n\n\nclass Depth(Base):\n" + EXTRACT)
    depth = import_module("my_lab.depth").Depth(size=8)
    assert depth.kind == "my_lab.depth:Depth"
    assert as_part(Target, depth.model_dump()) == depth


def test_faults_of_a_class_outside_are_named(my_lab):
    import_module("my_lab.depth")
    with pytest.raises(ValidationError, match="there is no such entry; known entries: batch_size, size"):
        as_part(Target, {"kind": "my_lab.depth:Depth", "sise": 8})


UNDECLARED = """
from braindiffuser.generators.generator import Generator, Variant

class Plain(Generator):
    def open(self, variant, null, networks, seed):
        return None

class Wild(Plain):
    uses = ("a",)
    variants = {VARIANTS}
"""


def test_what_a_class_must_declare_is_asked_for(my_lab):
    (my_lab / "draws.py").write_text(UNDECLARED.replace("VARIANTS", '"full": Variant("Full")'))
    import_module("my_lab.draws")
    with pytest.raises(PydanticCustomError, match=r"my_lab\.draws:Plain does not define uses, variants"):
        as_part(Generator, {"kind": "my_lab.draws:Plain"})
    assert as_part(Generator, {"kind": "my_lab.draws:Wild"}).chain("full") == ("full",)


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ("", 'there must be a variant "full"; there are none'),
        ('"half": Variant("Half")', 'there must be a variant "full"; there are half'),
        ('"full": Variant("Full", "late"), "late": Variant("Late")', "variant full starts from late"),
        ('"full": Variant("Full", "full")', "variant full starts from full"),
        ('"full": Variant("Full", uses=("a", "c"))', "variant full uses c; the generator uses a"),
        (
            '"full": Variant("Full", ablation="x"), "b": Variant("B", ablation="x")',
            "two variants have the same ablation name: x, x",
        ),
        ('"full": Variant("Full"), "final": Variant("F")', "final cannot name a variant or ablation"),
        ('"full": Variant("Full"), "seen": Variant("S")', "seen cannot name a variant or ablation"),
        ('"full": Variant("Full"), "from_true_features": Variant("T")', "from_true_features cannot name a variant"),
        ('"full": Variant("Full"), "../b": Variant("B")', "../b cannot name a variant or ablation"),
        ('"full": Variant("Full", ablation="a/b")', "full cannot name a variant or ablation"),
    ],
)
def test_variants_that_do_not_fit_are_named(my_lab, variants, words):
    (my_lab / "draws.py").write_text(UNDECLARED.replace("VARIANTS", variants))
    import_module("my_lab.draws")
    with pytest.raises(ValidationError, match=words):
        as_part(Generator, {"kind": "my_lab.draws:Wild"})


def test_an_entry_that_is_not_given_is_told_with_what_it_is_for():
    with pytest.raises(ValidationError, match=r"root\n  is not given: folder that holds nsddata"):
        as_part(Dataset, {"kind": "nsd"})


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("my_lab.depth:Nothing", "the module my_lab.depth has no class Nothing"),
        ("my_lab.depth:__getattr__", "my_lab.depth:__getattr__ is no Target"),
        ("my_lab.depth:function", "my_lab.depth:function is no Target"),
        ("my_lab.depth:Base", "my_lab.depth:Base does not define extract"),
        ("os:system", "os:system is no Target"),
        ("os:", "the module os has no class "),
        (":system", " is in a module that is not imported"),
        ("braindiffuser.targets.target:Target", "braindiffuser.targets.target:Target is no Target"),
        (
            "braindiffuser.regression.ridge:RidgeRegression",
            "braindiffuser.regression.ridge:RidgeRegression is no Target",
        ),
        ("blocked:Depth", "blocked:Depth is in a module that is not imported"),
    ],
)
def test_nothing_of_a_module_is_executed(my_lab, monkeypatch, kind, words):
    monkeypatch.setitem(sys.modules, "blocked", None)  # as Python does with modules that must not be imported
    import_module("my_lab.depth")
    with pytest.raises(PydanticCustomError) as caught:
        as_part(Target, {"kind": kind})
    assert words in caught.value.message()
    assert not (my_lab / "asked").exists()
    assert not (my_lab / "called").exists()


def test_paths_are_stored_with_the_same_separator_on_every_system():
    assert _influences({"net": PureWindowsPath(r"demo\vdvae")}, "cpu") == {"net": "demo/vdvae"}
