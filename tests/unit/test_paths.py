"""Paths as users write them: variables and home folders are replaced, and relative ones count from the file that names them."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, reject
from hypothesis import strategies as st

from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.paths import absolute, expand, resolve_beside, written_in


def test_parents_are_taken_out_of_paths_but_links_stay(tmp_path):
    for folder in ("lab", "disk/nsd", "disk/other"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "nsd")
    with written_in(tmp_path / "lab" / "mine.yaml"):
        assert absolute("../disk/nsd") == tmp_path.resolve() / "disk" / "nsd"
        assert absolute("../link") == tmp_path.resolve() / "link"
        assert absolute("../link/../other") == tmp_path.resolve() / "disk" / "other"
        assert absolute("..") == tmp_path.resolve()
    assert absolute(tmp_path / "link") == tmp_path / "link"


TEXT = st.text(alphabet="ab/.~$ {}_1é", min_size=1)


@given(TEXT)
def test_what_is_expanded_once_stays(text):
    try:
        found = expand(text)
    except ValueError:
        reject()
    assert expand(found) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("~/nsd", "/home/me/nsd"),
        ("~", "/home/me"),
        ("$LAB/nsd", "/disk/lab/nsd"),
        ("${LAB}2/nsd", "/disk/lab2/nsd"),
        ("$HERE/$LAB", "./~x///disk/lab"),
        ("/a~b/c", "/a~b/c"),
        ("price$", "price$"),
    ],
)
def test_variables_and_home_folders_are_replaced(text, found, monkeypatch):
    for name, value in {"HOME": "/home/me", "LAB": "/disk/lab", "HERE": "./~x/"}.items():
        monkeypatch.setenv(name, value)
    assert expand(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$NO_SUCH_LAB/nsd", r"uses \$NO_SUCH_LAB, and no environment variable of that name is set"),
        ("/a/${NO SUCH}/b", r"uses \$\{NO SUCH\}, and no"),
        ("$NESTED/b", r"uses \$NO_SUCH_LAB"),
        ("$EMPTY/nsd", r"uses \$EMPTY, .* or it is empty"),
        ("~no_such_user/nsd", "begins with ~no_such_user, whose home folder is not known"),
        ("", "is empty"),
        (" ", "is empty"),
        ("/a\0b", "NUL"),
    ],
)
def test_what_cannot_be_replaced_is_named(text, words, monkeypatch):
    monkeypatch.delenv("NO_SUCH_LAB", raising=False)
    monkeypatch.setenv("NESTED", "/x/$NO_SUCH_LAB")
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(ValueError, match=words):
        expand(text)


def test_relative_paths_count_from_the_file_that_is_read_and_else_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with written_in(Path("lab/mine.yaml")):
        assert absolute("nsd") == tmp_path / "lab" / "nsd"
        assert absolute("/nsd") == Path("/nsd")
    assert absolute("nsd") == tmp_path / "nsd"


def test_a_name_is_a_path_if_it_is_there_or_begins_with_a_dot(tmp_path):
    (tmp_path / "nets" / "clip").mkdir(parents=True)
    (tmp_path / "clip").mkdir()
    with written_in(tmp_path / "mine.yaml"):
        assert resolve_beside("nets/clip") == tmp_path / "nets" / "clip"
        assert resolve_beside("nets/unet") == Path("nets/unet")
        assert resolve_beside("clip") == Path("clip")
        assert resolve_beside("./clip") == tmp_path / "clip"
        assert resolve_beside("../clip") == tmp_path / "../clip"
    assert resolve_beside("nets/clip") == Path("nets/clip")


# Experiments


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder with an experiment file, its data and a checkpoint; the working folder is another."""
    for name in ("lab/nets/unet", "lab/demo/vdvae", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "lab"


def load(lab, preset="demo", **entries):
    (lab / "mine.yaml").write_text(yaml.safe_dump({"preset": preset, **entries}))
    return Experiment.load(lab / "mine.yaml")


def test_paths_of_a_file_count_from_its_folder(lab):
    experiment = load(
        lab, dataset={"kind": "nsd", "root": "nsd", "mask": "mask.nii.gz"}, generator={"unet": "nets/unet"}
    )
    assert experiment.dataset.root == lab / "nsd"
    assert experiment.dataset.mask == str(lab / "mask.nii.gz")
    assert experiment.checkpoints["generator.unet"] == lab / "nets" / "unet"
    again = Experiment.model_validate(experiment.model_dump(mode="json"))
    assert again == experiment
    (lab / "mine.yaml").write_text(experiment.to_yaml())
    assert Experiment.load(lab / "mine.yaml") == experiment


def test_a_whole_file_is_read_as_one_that_begins_from_a_preset(lab):
    content = Experiment.load("demo").model_dump(mode="json") | {"dataset": {"kind": "nsd", "root": "../nsd"}}
    (lab / "whole.yaml").write_text(yaml.safe_dump(content))
    assert Experiment.load(lab / "whole.yaml").dataset.root == lab.parent / "nsd"


def test_names_of_a_preset_are_no_paths(lab):
    own = load(lab)  # beside which there is a folder demo/vdvae
    assert own == Experiment.load("demo")
    assert own.checkpoints["targets.latents.checkpoint"] == BUNDLED / "demo" / "vdvae"


def test_experiments_of_python_count_from_the_working_folder(lab):
    content = Experiment.load("demo").model_dump() | {"dataset": {"kind": "nsd", "root": "nsd"}}
    assert Experiment.model_validate(content).dataset.root == Path.cwd() / "nsd"


def test_variables_in_a_file_are_replaced_and_stored_absolute(lab, monkeypatch):
    monkeypatch.setenv("LAB_DATA", str(lab / "data"))
    experiment = load(lab, dataset={"kind": "nsd", "root": "${LAB_DATA}/nsd", "mask": "$LAB_DATA/mask.nii"})
    monkeypatch.delenv("LAB_DATA")
    assert Experiment.model_validate(experiment.model_dump(mode="json")) == experiment
    assert (experiment.dataset.root, experiment.dataset.mask) == (lab / "data" / "nsd", str(lab / "data" / "mask.nii"))
    with pytest.raises(RunError, match=r"mine.yaml is not an experiment: dataset.root: uses \$LAB_DATA, and no"):
        load(lab, dataset={"kind": "nsd", "root": "$LAB_DATA/nsd"})


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("dataset", {"kind": "nsd", "root": "/a\0b"}),
        ("generator", {"unet": "/a\0b"}),
        ("dataset", {"root": "~nobody_/x", "kind": "nsd"}),
    ],
)
def test_paths_that_cannot_be_are_refused_by_the_name_of_their_entry(entry, value, lab):
    with pytest.raises(RunError, match=f"{entry}.(root|unet): (holds a NUL|begins with ~nobody_)"):
        load(lab, **{entry: value})


def test_identity_does_not_depend_on_where_folders_are(lab, tmp_path):
    (tmp_path / "moved").mkdir()
    entries = {"dataset": {"kind": "nsd", "root": "nsd"}, "generator": {"unet": "./nets/unet"}}
    here, there = load(lab, **entries), load(tmp_path / "moved", **entries)
    assert here.dataset.root != there.dataset.root
    assert here.uid == there.uid
    assert here.generator.unet.is_absolute()
