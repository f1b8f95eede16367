"""What a library says is wrong is said, and none of its advice to turn off what protects the user."""

import ast
import pickle
import re
from pathlib import Path

import h5py
import huggingface_hub
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import braindiffuser
from braindiffuser import errors
from braindiffuser.datasets.beta_files import inspect_betas
from braindiffuser.datasets.stimuli import StimulusCaptions, StimulusPictures
from braindiffuser.datasets.volumes import read_labels
from braindiffuser.errors import BrainDiffuserError, reason
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.catalogue import PublishedFile
from braindiffuser.networks.checkpoints import build_empty
from braindiffuser.networks.downloads import download
from braindiffuser.networks.tensor_files import open_tensors
from braindiffuser.plain_data import read_json, read_yaml

SOURCES = sorted(Path(braindiffuser.__file__).parent.rglob("*.py"))
ADVICE = (
    "allow_pickle=True",
    "allow_pickle=False",
    "weights_only=False",
    "torch.serialization.add_safe_globals([Net])",
    "trust_remote_code=True",
    "Image.MAX_IMAGE_PIXELS = None",
    "ImageFile.LOAD_TRUNCATED_IMAGES = True",
    "local_dir_use_symlinks=False",
    "HF_HUB_DISABLE_SSL_VERIFICATION",
    "HDF5_USE_FILE_LOCKING=FALSE",
    "verify=False",
    "--no-check-certificate",
    "git config --global --add safe.directory /x",
    "Loader=yaml.UnsafeLoader",
    "sys.set_int_max_str_digits()",
    "ignore_mismatched_sizes=True",
)
JOINTS = (
    ". Set {}",
    ". Please use `{}` if you trust it",
    "; use {} to go on",
    ", pass {}",
    " (set {} to read it)",
    " when {}",
    ": try {}",
)
FORBIDDEN = re.compile(
    "|".join(re.escape(re.split(r"[ =(]", words.removeprefix("git config --global --add "))[0]) for words in ADVICE)
)


@pytest.mark.parametrize("advice", ADVICE)
@pytest.mark.parametrize("joint", JOINTS)
def test_advice_is_left_out_and_the_fault_stays(advice, joint):
    assert reason(ValueError("Cannot read the file" + joint.format(advice))) == "Cannot read the file"
    assert FORBIDDEN.search(advice)
    assert not FORBIDDEN.search(reason(ValueError(advice)))


@given(st.text(max_size=300))
def test_any_text_becomes_one_line_that_is_not_empty(text):
    said = reason(ValueError(text))
    assert said
    assert len(said) <= 200
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[Errno 2] No such file or directory: '/a/b.npy'",
        "Unable to open file (truncated file: eof = 96, sblock->base_addr = 0, stored_eof = 2048)",
        "Expecting value: line 1 column 1 (char 0)",
        "invalid value 1.5 for x",
        "certificate verify failed: self-signed certificate",
    ],
)
def test_a_fault_without_advice_is_said_as_it_is(text):
    assert reason(OSError(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "Header of /data/trust/sub1.nii is damaged",
        "C:\\data\\you trust_me\\sub1.nii has no end",
        "Disabled channel found in header",
        "Trusted root not found",
        "Scanner was turned off at slice 3",
        "Silence before the stimulus is too short",
    ],
)
def test_innocent_words_and_paths_are_no_advice(text):
    assert reason(ValueError(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The file is damaged, please pass the argument `allow_pickle=True`", "The file is damaged"),
        ("/a/trust_x/b.npy is cut; set allow_pickle=True/False", "/a/trust_x/b.npy is cut"),
        ("The image is large and you can turn off the check", "The image is large"),
        ("Please pass the argument `trust_remote_code=True`", "ValueError"),
    ],
)
def test_only_the_clause_of_the_advice_is_left_out(text, said):
    assert reason(ValueError(text)) == said


# Readers


class Net(torch.nn.Module):
    """What no file of tensors holds."""


def an_array_of_objects(path):
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    StimulusCaptions.open(path)


def a_pickle(path):
    path.write_bytes(pickle.dumps({"a": 1}))
    StimulusCaptions.open(path)


def a_network(path, zipped=True):
    torch.save({"net": Net()}, path, _use_new_zipfile_serialization=zipped)
    open_tensors(path)


def a_locked_file(path, read):
    path.write_bytes(b"x")
    read(path)


def digits(path):
    path.write_text('{"a": ' + 5000 * "9" + "}")
    read_json(path)


def a_network_with_code(path):
    def build(config):
        raise ValueError("The repository contains custom code. Please pass the argument `trust_remote_code=True`")

    build_empty(build, {})


def a_loader_of_code(path):
    def load(folder):
        raise ValueError("The repository contains custom code, please pass the argument `trust_remote_code=True`")

    NetworkCache().load(path, load)


PROVOKED = {
    "loader": a_loader_of_code,
    "objects.npy": an_array_of_objects,
    "pickle.npy": a_pickle,
    "new.pth": a_network,
    "old.th": lambda path: a_network(path, zipped=False),
    "int.json": digits,
    "tag.yaml": lambda path: read_yaml(b"a: !!python/object/apply:os.system [ls]"),
    "custom": a_network_with_code,
    "pictures.hdf5": lambda path: a_locked_file(path, StimulusPictures.open),
    "betas.hdf5": lambda path: a_locked_file(path, inspect_betas),
    "labels.nii": lambda path: a_locked_file(path, read_labels),
}


@pytest.fixture
def locked(monkeypatch):
    """HDF5 files that another program holds; libhdf5 of some versions adds advice."""

    def open_file(*_, **__):
        raise OSError("Unable to open file (unable to lock file; set HDF5_USE_FILE_LOCKING=FALSE to go on)")

    monkeypatch.setattr(h5py, "File", open_file)


@pytest.mark.parametrize("name", PROVOKED)
def test_no_reader_repeats_advice(name, tmp_path, locked):
    with pytest.raises((BrainDiffuserError, ValueError)) as caught:
        PROVOKED[name](tmp_path / name)
    assert not FORBIDDEN.search(str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("advice", ADVICE)
@pytest.mark.parametrize("kind", [OSError, RuntimeError, ValueError])
def test_no_download_repeats_advice(advice, kind, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise kind(f"the connection is not safe: pass {advice}")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    file = PublishedFile("net.pth", "https://huggingface.co/lab/net/resolve/abc/net.pth", 1.0, "MIT", "tests")
    with pytest.raises(BrainDiffuserError, match="the connection is not safe") as caught:
        download(file, tmp_path)
    assert not FORBIDDEN.search(str(caught.value))


# All places where an error enters a message


def test_errors_are_public_names_of_the_package():
    for name in ("RecordingError", "RunError", "DependencyError"):
        assert getattr(braindiffuser, name) is getattr(errors, name)


OURS = {"BrainDiffuserError", "RunError", "RecordingError", "DependencyError", "ValidationError"}
OURS_OR_OF_THE_SYSTEM = OURS | {"OSError", "ValueError", "RecursionError", "UnicodeEncodeError"}
"""Of these OSError has words of the system, and we raise ValueError too; libraries do so as well."""


def caught_names(handler):
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {kind.id if isinstance(kind, ast.Name) else "a library's" for kind in kinds if kind is not None}


def bare_uses(handler):
    """F-strings of a handler that hold the error itself, or its text."""
    for piece in ast.walk(handler):
        if isinstance(piece, ast.FormattedValue):
            value = piece.value
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "str":
                value = value.args[0]
            if isinstance(value, ast.Name) and value.id == handler.name:
                yield piece.lineno


def not_ours(tree):
    """Names of a module that are a library's, or a function that was passed in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and not (getattr(node, "module", "") or "").startswith(
            "braindiff"
        ):
            yield from ((name.asname or name.name).partition(".")[0] for name in node.names if name.name != "Path")
        elif isinstance(node, ast.arg) and node.arg != "self":
            yield node.arg


def called(body):
    """Names that are called: `a` of a(), `np` of np.load(), but nothing of the methods of an object."""
    for call in (piece for node in body for piece in ast.walk(node) if isinstance(piece, ast.Call)):
        function = call.func
        while isinstance(function, ast.Attribute):
            function = function.value
        if isinstance(function, ast.Name):
            yield function.id, isinstance(call.func, ast.Attribute)


def words_of_libraries(source):
    """Lines where the words of an error that a library may have raised enter a message as they are."""
    tree = ast.parse(source)
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    foreign = set(not_ours(tree))
    for node in (piece for piece in ast.walk(tree) if isinstance(piece, ast.Try)):
        names = {name for name, is_method in called(node.body) if not (is_method and name in arguments)}
        for handler in node.handlers:
            kinds = caught_names(handler)
            is_libraries = not kinds <= OURS_OR_OF_THE_SYSTEM or ("ValueError" in kinds and names & foreign)
            yield from bare_uses(handler) if is_libraries else ()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_words_of_libraries_go_through_reason(path):
    assert not list(words_of_libraries(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("line", "caught", "is_found"),
    [
        ("np.load(path)", "ValueError", True),
        ("load(path)", "(OSError, ValueError)", True),
        ("read_json(path)", "ValueError", False),
        ("read_json(path)", "RuntimeError", True),
        ("part.check_configs()", "ValueError", False),
        ("np.load(path)", "OSError", False),
    ],
)
def test_where_the_words_of_libraries_are_used_is_found(line, caught, is_found):
    source = f"""import numpy as np
from braindiffuser.plain_data import read_json
def read(path, load, part):
    try:
        {line}
    except {caught} as error:
        raise RunError(f"{{path}}: {{error}}")
"""
    assert bool(list(words_of_libraries(source))) == is_found
