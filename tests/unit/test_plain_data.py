"""Laws of plain data: one hash whatever the order, damage is named, and a failed writing leaves the old file."""

import hashlib
import json
import math
import re

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from braindiffuser.plain_data import as_yaml, hash_json, read_json, read_yaml, write_json

keys = st.text(min_size=1, max_size=3)
leaves = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
nested = st.dictionaries(
    keys, st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8)
)


def test_the_hash_is_of_the_sorted_entries():
    content = {"b": {"y": 1.5, "x": None}, "a": [1, 2]}
    assert hash_json(content) == hashlib.sha256(b'{"a": [1, 2], "b": {"x": null, "y": 1.5}}').hexdigest()


@settings(deadline=None, max_examples=25)
@given(nested)
def test_the_hash_knows_neither_the_order_of_keys_nor_the_way_through_a_file(content):
    assert (
        hash_json(dict(reversed(content.items()))) == hash_json(json.loads(json.dumps(content))) == hash_json(content)
    )
    assert hash_json(content | {"another": 1}) != hash_json(content)


@given(nested)
@settings(deadline=None, max_examples=25)
def test_what_is_written_is_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("plain") / "a.json"
    write_json(path, content)
    assert read_json(path) == content


@pytest.mark.parametrize("content", ['{"a": 1, "a": 1}', '{"b": [{"a": 1, "c": 2, "a": 3}]}'])
def test_a_name_that_is_given_twice_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=r"a\.json cannot be used: a is given twice: keep one"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("damage", ["", "{", "[1]", "\xff", "[" * 100_000])
def test_what_is_no_mapping_is_named(tmp_path, damage):
    path = tmp_path / "a.json"
    path.write_bytes(damage.encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.json (is not JSON|holds a list)"):
        read_json(path)
    with pytest.raises(FileNotFoundError, match=r"b\.json"):
        read_json(tmp_path / "b.json")


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


# YAML


def read(text):
    return read_yaml(text.encode())


@pytest.mark.parametrize(
    "text", ["yes", "no", "on", "off", "Y", "n", "2024-01-01", "2024-01-01 10:00:00", "=", "<<", "1.2.3"]
)
def test_what_only_old_yaml_takes_for_something_else_is_text(text):
    assert read(f"a: {text}\nb: [{text}]") == {"a": text, "b": [text]}


@given(st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False), st.integers(-300, 300))
@settings(deadline=None, max_examples=50)
def test_decimal_numbers_are_read_as_python_reads_them(whole, real, exponent):
    written = [
        f"{whole}",
        f"+{abs(whole)}",
        repr(real),
        f"{real:.3f}",
        f"{whole}e{exponent}",
        f"{abs(whole)}.",
        "1E+3",
        ".5",
    ]
    assert [read(f"a: {number}")["a"] for number in written] == [
        *map(int, written[:2]),
        *map(float, written[2:]),
    ]
    assert read("[.inf, -.INF, .nan, 0, -0]")[:2] == [math.inf, -math.inf]


@pytest.mark.parametrize("sign", ["", "-", "+"])
@pytest.mark.parametrize(
    "number",
    [
        "010",
        "09",
        "00",
        "0o17",
        "0x1F",
        "0b11",
        "1_000",
        "1_0.5",
        "1.5_0",
        "1_0.0e+3",
        "1:30",
        "1:30.5",
        "190:20:30",
        "0_7",
    ],
)
def test_a_number_that_programs_read_differently_is_refused_with_what_to_write(sign, number):
    number = sign + number
    for text in (f"a: 1\nb: {number}", f"a: 1\nb: [{number}]", f"a: 1\nb:\n  {number}"):
        with pytest.raises(ValueError, match=rf"line [23]: programs read {re.escape(number)} as different numbers"):
            read(text)
    assert read(f"b: '{number}'") == read(f"b: !!str {number}") == {"b": number}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a: 1\nb: !!python/object/apply:os.system [ls]",
            "line 2: tags, such as !name, are not used here: remove this one, or put text that begins with ! in quotes",
        ),
        ("a: !!int '010'", "line 1: tags"),
        ("a: [!V1]", "line 1: tags, such as !name, are not used here: remove this one, or put text that begins with !"),
        ("a: [!ecc<9]", "line 1: expected ' ', but found '<': put text that begins with ! in quotes"),
        (
            "a: & V1",
            "line 1: expected alphabetic or numeric character, but found ' ': put text that begins with ! or & in quotes",
        ),
        ("a: !!binary aGk=", "line 1: tags"),
        ("a: !!set {x}", "line 1: tags"),
        ("a: !mine {x: 1}", "line 1: tags"),
        ("a: 1\n---\nb: 2", "line 2: it holds several documents: keep one"),
        ("a:\n\tb: 2", "line 2: a tab: indent with spaces"),
        (
            "a: @b",
            "line 1: found character '@' that cannot start any token: put text with special characters in quotes",
        ),
        ("a: b: c", "line 1: a colon where none may be"),
        ("a: 'b", "line 1: a quotation mark that begins before is not closed"),
        ("a: *b", "line 1: found undefined alias 'b'"),
        ("a: 1\n2: b", "line 2: the name of an entry must be text, but is 2: put it in quotes"),
        ("null: b", "line 1: the name of an entry must be text, but is null"),
        ("true: b", "line 1: the name of an entry must be text, but is true"),
        ("010: b", "line 1: the name of an entry must be text, but is 010"),
        ("[a]: b", "line 1: the name of an entry must be text"),
        ("a: 1\nb: 2\n'a': 3", "a is given twice, in lines 1 and 3: keep one"),
        ("a: " + 301 * "9", "line 1: a number has 301 digits"),
        ("a: \0", "it holds NUL characters"),
        ("a: \a", "unacceptable character"),
    ],
)
def test_what_is_no_plain_data_is_named_with_its_line_in_one_sentence(text, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}") as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_text_in_another_encoding_is_refused_and_a_byte_order_mark_is_not():
    with pytest.raises(ValueError, match="byte 4 is not UTF-8: save it as text in UTF-8"):
        read_yaml("a: é".encode("latin-1"))
    assert read_yaml("a: é".encode("utf-16")) == {"a": "é"}
    assert read_yaml("a: é".encode("utf-8-sig")) == {"a": "é"}


def test_aliases_of_aliases_that_would_fill_the_memory_are_refused():
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(ValueError, match=r"repeat it holds [\d,]+ values: write out what is meant"):
        read("\n".join(lines))


def test_an_entry_may_be_named_once_and_used_again():
    assert read("a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2}") == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 2}}


LOOKALIKES = "0123456789_:+-.eExobnyaf~T"


@settings(deadline=None, max_examples=300)
@given(st.text(LOOKALIKES, max_size=8) | st.text(max_size=8))
@example("1e5")
@example("0o17")
@example("09")
@example("yes")
@example("2024-01-01")
@example("1:30")
def test_text_is_written_so_that_both_versions_of_yaml_read_it(text):
    written = as_yaml({"a": [text], text: 1})
    assert read(written) == yaml.safe_load(written) == {"a": [text], text: 1}
