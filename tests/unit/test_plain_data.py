"""Laws of plain data: one hash whatever the order, damage is named, and a failed writing leaves the old file."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.plain_data import hash_json, read_json, write_json

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
