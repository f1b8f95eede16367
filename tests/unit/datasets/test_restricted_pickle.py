"""A pickle may ask for anything: only numpy's arrays and plain values are built, all else is refused before it is looked up."""

import io
import os
import pickle
import pickletools
import sys
from collections import OrderedDict
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from braindiffuser.datasets.restricted_pickle import read_pickled_dict
from braindiffuser.errors import RecordingError

NUMPY = "numpy._core.multiarray"


def save(path: Path, content, protocol: int = 4) -> Path:
    """Write as numpy.save does, in any protocol."""
    array = np.empty((), object)
    array[()] = content
    return save_bytes(path, pickle.dumps(array, protocol))


def save_bytes(path: Path, body: bytes) -> Path:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    path.write_bytes(header.getvalue() + body)
    return path


def contents(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "betasmd": rng.normal(size=(2, 3, 4, 5)).astype(np.float32),
        "fortran": np.asfortranarray(rng.normal(size=(3, 4))),
        "swapped": rng.integers(0, 9, 5).astype(">i4"),
        "bool": rng.random((2, 2)) < 0.5,
        "texts": np.array(["one", "three"]),
        "complex": rng.normal(size=3) + 1j,
        "empty": np.zeros((0, 4), np.uint8),
        "objects": np.array([None, "a", 2], object),
        "zero_d": np.array(3.5),
        "list": [rng.normal(size=2), (1, 2.5, "x", None, True, b"y", 10**30)],
        "nested": {
            "sessionindicator": np.array([[1, 1, 2]]),
            "deep": {"deeper": [np.int64(4), np.float32(0.5), np.bool_(1)]},
        },
    }


def assert_equal(found, expected):
    assert isinstance(found, np.ndarray) == isinstance(expected, np.ndarray)
    if isinstance(expected, np.ndarray):
        assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_equal(found[key], value)
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert type(found) is type(expected)
        assert found == expected


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_numpy_writes_is_read(tmp_path, seed, protocol):
    assert_equal(read_pickled_dict(save(tmp_path / "a.npy", contents(seed), protocol)), contents(seed))


def test_what_numpy_save_itself_writes_is_read(tmp_path):
    np.save(tmp_path / "a.npy", contents(0), allow_pickle=True)
    assert_equal(read_pickled_dict(tmp_path / "a.npy"), contents(0))


def test_names_of_numpy_1_are_read(tmp_path):
    body = pickle.dumps(np.array({"a": np.arange(3)}, object), 3).replace(b"numpy._core", b"numpy.core")
    np.testing.assert_array_equal(read_pickled_dict(save_bytes(tmp_path / "a.npy", body))["a"], [0, 1, 2])


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (Calls(os.system, "touch {}"), f"{os.system.__module__}.system"),
        (Calls(eval, "open('{}', 'w')"), "builtins.eval"),
        (Calls(exec, "open('{}', 'w')"), "builtins.exec"),
        (Calls(getattr, np, "load"), "getattr"),
        (Calls(np.load, "{}", None, True), "load"),
        (Calls(np.frombuffer, b"1234"), "numpy.frombuffer"),
        (Calls(bytearray, 10**9), "bytearray"),
        (Calls(__import__, "os"), "__import__"),
    ],
)
def test_calls_are_refused_by_name_and_nothing_runs(tmp_path, protocol, attack, name):
    mark = tmp_path / "mark"
    function, args = attack.call
    attack = Calls(function, *(arg.format(mark) if isinstance(arg, str) else arg for arg in args if arg is not np))
    path = save(tmp_path / "a.npy", {"betasmd": attack}, protocol)
    with pytest.raises(RecordingError) as caught:
        read_pickled_dict(path)
    said = str(caught.value)
    assert str(path) in said
    assert "asks for" in said
    # protocols 0 to 2 write the old names of builtins, and bytes as a call
    assert name.rpartition(".")[2] in said or protocol < 3
    assert not mark.exists()


@pytest.mark.parametrize(
    "value",
    [
        OrderedDict(a=1),
        Fraction(1, 3),
        Path("a"),
        {1, 2, Fraction(1)},
        np.random.default_rng(0),
        np.ma.array([1]),
        range(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_classes_are_refused(tmp_path, value):
    with pytest.raises(RecordingError, match="asks for"):
        read_pickled_dict(save(tmp_path / "a.npy", {"a": value}))


@pytest.mark.parametrize(
    "array",
    [np.zeros(2, [("a", "i4"), ("b", "f8")]), np.zeros(2, "M8[s]"), np.zeros(2, "V7"), np.recarray(2, "f8")],
    ids=["fields", "datetime", "void", "class"],
)
def test_arrays_of_other_kinds_are_refused(tmp_path, array):
    with pytest.raises(RecordingError, match="asks for"):
        read_pickled_dict(save(tmp_path / "a.npy", {"a": array}))


def test_a_module_is_not_imported_by_being_named(tmp_path):
    (tmp_path / "never_imported_module.py").write_text("raise SystemExit")
    body = b"\x80\x04\x8c\x15never_imported_module\x8c\x01x\x93."
    with pytest.raises(RecordingError, match=r"asks for never_imported_module\.x"):
        read_pickled_dict(save_bytes(tmp_path / "a.npy", body))
    assert "never_imported_module" not in sys.modules


@pytest.mark.parametrize(
    "name", ["numpy ndarray.tofile", "numpy dtype.__init__", "numpy.core numeric._frombuffer", "numpy load"]
)
def test_no_attribute_is_reached_through_a_known_name(tmp_path, name):
    module, attribute = name.encode().split()
    body = b"\x80\x04\x8c" + bytes([len(module)]) + module + b"\x8c" + bytes([len(attribute)]) + attribute + b"\x93."
    with pytest.raises(RecordingError, match="asks for"):
        read_pickled_dict(save_bytes(tmp_path / "a.npy", body))


def push(module: bytes, name: bytes) -> bytes:
    return b"c" + module + b"\n" + name + b"\n"


RECONSTRUCT, DTYPE, NDARRAY = (
    push(NUMPY.encode(), b"_reconstruct"),
    push(b"numpy", b"dtype"),
    push(b"numpy", b"ndarray"),
)
FLOAT = DTYPE + b"(X\x02\x00\x00\x00f8\x89\x88tR"
EMPTY = RECONSTRUCT + b"(" + NDARRAY + b"(K\x00tC\x01btR"


@pytest.mark.parametrize(
    "body",
    {
        "attributes of a name": RECONSTRUCT + b"}X\x08\x00\x00\x00__call__K\x01sb.",
        "slots of a name": RECONSTRUCT + b"N}X\x04\x00\x00\x00nameX\x05\x00\x00\x00dtypes\x86b.",
        "attributes of a class": NDARRAY + b"}X\x01\x00\x00\x00aK\x01sb.",
        "a call of ndarray": NDARRAY + b"(J\x00\x00\x00\x7fJ\x00\x00\x00\x7f\x86tR.",
        "a new object": NDARRAY + b"(K\x01\x85t\x81.",
        "another class of array": RECONSTRUCT + b"(" + DTYPE + b"(K\x00tC\x01btR.",
        "more bytes than the shape": EMPTY + b"(K\x01(K\x01t" + FLOAT + b"\x89C\x10" + bytes(16) + b"tb.",
        "fewer bytes than the shape": EMPTY + b"(K\x01(J\x00\x00\x00\x7ft" + FLOAT + b"\x89C\x08" + bytes(8) + b"tb.",
        "a negative shape": EMPTY + b"(K\x01(J\xff\xff\xff\xfft" + FLOAT + b"\x89C\x08" + bytes(8) + b"tb.",
        "pointers from bytes": EMPTY
        + b"(K\x01(K\x01t"
        + DTYPE
        + b"(X\x01\x00\x00\x00O\x89\x88tR\x89C\x08"
        + bytes(8)
        + b"tb.",
        "numbers from a list": EMPTY + b"(K\x01(K\x01t" + FLOAT + b"\x89](K\x01etb.",
        "a scalar of objects": push(NUMPY.encode(), b"scalar")
        + b"("
        + DTYPE
        + b"(X\x01\x00\x00\x00O\x89\x88tRC\x08"
        + bytes(8)
        + b"tR.",
        "a type by another word": DTYPE + b"(X\x07\x00\x00\x00float64tR.",
        "a type with fields": FLOAT
        + b"(K\x03X\x01\x00\x00\x00<N(X\x01\x00\x00\x00at}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.",
        "an object outside": b"Pnumber\n.",
        "another object outside": b"K\x01Q.",
        "a store far off": b"}r\xff\xff\xff\x7f.",
        "a store far off by text": b"}p2000000000\n.",
        "an extension": b"\x82\x01.",
        "an old instance": b"(X\x01\x00\x00\x00ai" + b"os\nsystem\n.",
        "nothing": b".",
        "no end": b"}",
        "a dict that is none": b"K\x01.",
    }.items(),
    ids=lambda item: item[0],
)
def test_hand_made_pickles_are_refused(tmp_path, body):
    path = save_bytes(tmp_path / "a.npy", b"\x80\x04" + body[1])
    with pytest.raises(RecordingError, match=r"a\.npy") as caught:
        read_pickled_dict(path)
    assert ". " not in str(caught.value)
    # what a pickle asked for has changed nothing
    assert_equal(read_pickled_dict(save(tmp_path / "b.npy", contents(0))), contents(0))


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_one_sentence(tmp_path, seed):
    rng = np.random.default_rng(seed)
    whole = save(tmp_path / "a.npy", contents(seed)).read_bytes()
    for _ in range(150):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, len(damaged), rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        (tmp_path / "a.npy").write_bytes(damaged)
        try:
            assert isinstance(read_pickled_dict(tmp_path / "a.npy"), dict)
        except RecordingError as error:
            assert "a.npy" in str(error)  # noqa: PT017  either is right


def test_arrays_and_missing_files_are_named(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(RecordingError, match=r"a\.npy .*it holds int64 \(3,\), expected one dict"):
        read_pickled_dict(tmp_path / "a.npy")
    with pytest.raises(RecordingError, match=r"none\.npy is missing"):
        read_pickled_dict(tmp_path / "none.npy")


def test_no_code_of_the_attacks_is_a_mistake():
    """The hand-made bodies above are pickles that the ordinary machine can parse."""
    assert [operation.name for operation, _, _ in pickletools.genops(b"\x80\x04" + FLOAT + b".")][-2:] == [
        "REDUCE",
        "STOP",
    ]


@pytest.mark.parametrize("length", [1 << 20, 1 << 40, (1 << 62) + 7, (1 << 64) - 1])
def test_a_frame_longer_than_the_file_says_that_the_file_is_damaged(tmp_path, length):
    path = save(tmp_path / "info.npy", contents(0))
    whole = path.read_bytes()
    place = whole.index(b"\x80\x04\x95") + 3  # protocol 4, frame
    path.write_bytes(whole[:place] + length.to_bytes(8, "little") + whole[place + 8 :])
    with pytest.raises(RecordingError, match=r"info\.npy is damaged"):
        read_pickled_dict(path)


def test_damaged_bytes_are_never_a_lack_of_memory(tmp_path):
    path, rng = save(tmp_path / "info.npy", contents(1)), np.random.default_rng(0)
    whole = path.read_bytes()
    for _ in range(400):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(bytes(changed))
        with suppress(RecordingError):
            read_pickled_dict(path)
