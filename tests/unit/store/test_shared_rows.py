"""Laws of rows that runs share: each is computed once, in batches as large as without, and only what is whole is believed."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from braindiffuser.errors import RunError
from braindiffuser.store.shared_rows import SharedRows, check_shared, open_shared_rows

FACTS = {"settings": {"checkpoint": "abc"}, "seed": 0}
NAMES = {number: f"p{number}.png" for number in range(40)}


class Network:
    """Computes rows that depend on the stimulus and, as rounding does, on how many are computed together."""

    def __init__(self):
        self.batches = []

    def __call__(self, ids):
        self.batches.append(ids.tolist())
        return np.stack([ids, np.full(len(ids), 1 / len(ids))], axis=1).astype(np.float32)


def opened(shared, facts=FACTS, names=NAMES, wait=lambda: None):
    return open_shared_rows(shared, lambda: facts, names, wait)


def asked(shared, ids, network, size=4):
    """Rows of some stimuli, in batches as a stage asks for them."""
    ids = np.array(ids)
    parts = []
    for start in range(0, len(ids), size):
        own = ids[start : start + size]
        others = np.roll(ids, -(start + len(own))).tolist()
        parts.append(shared.rows(own, others, min(size, len(ids)), network))
    return np.concatenate(parts)


def alone(ids, size=4):
    """Rows as a run that shares none computes them: the last batch is filled up."""
    return np.concatenate(
        [Network()(np.roll(ids, -start)[:size])[: len(ids) - start] for start in range(0, len(ids), size)]
    )


def files(shared):
    return sorted(path for path in shared.rglob("rows-*.safetensors"))


@pytest.mark.parametrize("again", [False, True])
def test_rows_are_those_without_a_pool_in_whatever_order_they_are_asked_for(tmp_path, again):
    rng = np.random.default_rng(0)
    network = Network()
    for _ in range(6):
        ids = rng.choice(40, int(rng.integers(5, 40)), replace=False).tolist()
        with opened(tmp_path / "pool") as shared:
            np.testing.assert_array_equal(asked(shared, ids, network), alone(ids))
            if again:
                n = len(network.batches)
                np.testing.assert_array_equal(asked(shared, ids, network), alone(ids))
                assert len(network.batches) == n


def test_each_row_is_computed_once_and_batches_are_filled_up_with_what_is_needed_next(tmp_path):
    network = Network()
    with opened(tmp_path) as shared:
        asked(shared, [0, 1, 2, 3, 4, 5, 6, 7], network)
        assert network.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]
        asked(shared, [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 6], network)
        assert network.batches[2:] == [
            [8, 9, 10, 11],
            [12, 0, 8, 1],
        ]  # 10 and 11 before they are asked for; 12 lacks company
        asked(shared, range(12), network)
        assert len(network.batches) == 4
    held = [number for path in files(tmp_path) for number in load_file(path)["ids"].tolist()]
    assert sorted(held) == list(range(13))


def test_the_last_batch_is_filled_up_so_that_its_rows_serve_other_divisions(tmp_path):
    network = Network()
    with opened(tmp_path) as shared:
        for ids in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 5, 1]):
            np.testing.assert_array_equal(asked(shared, ids, network), alone(ids))
    assert network.batches == [[0, 1, 2, 3], [4, 5, 0, 1], [3, 5, 1]]  # three cannot be filled up to four


def test_rows_of_other_facts_or_under_another_name_are_others(tmp_path):
    network = Network()
    for facts, names in (
        (FACTS, NAMES),
        ({**FACTS, "seed": 1}, NAMES),
        (FACTS, {**NAMES, 2: "other.png"}),
        (FACTS, {}),
    ):
        with opened(tmp_path, facts, names) as shared:
            asked(shared, range(4), network)
    assert network.batches == [[0, 1, 2, 3], [0, 1, 2, 3], [2, 0, 1, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x07"),
    ],
    ids=["lost", "cut", "changed"],
)
def test_rows_of_a_damaged_file_are_computed_again(tmp_path, damage):
    with opened(tmp_path) as shared:
        asked(shared, range(12), Network())
    damage(files(tmp_path)[1])
    network = Network()
    with opened(tmp_path) as shared:
        np.testing.assert_array_equal(asked(shared, range(12), network), alone(range(12)))
    assert network.batches == [[4, 5, 6, 7]]


def test_a_file_that_is_not_noted_does_not_count(tmp_path):
    with opened(tmp_path) as shared:
        asked(shared, range(8), Network())
    (journal,) = tmp_path.rglob("journal.jsonl")
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))  # killed between file and journal
    network = Network()
    with opened(tmp_path) as shared:
        np.testing.assert_array_equal(asked(shared, range(8), network), alone(range(8)))
    assert network.batches == [[4, 5, 6, 7]]


@pytest.mark.parametrize("null", [None, np.arange(6, dtype=np.float32).reshape(1, 2, 3)])
def test_the_unconditional_feature_is_made_once(tmp_path, null):
    made = []
    for _ in range(2):
        with opened(tmp_path) as shared:
            found = shared.null(lambda: made.append(1) or null)
            assert (found is None) == (null is None)
            if null is not None:
                np.testing.assert_array_equal(found, null)
    assert made == [1]


def test_rows_keep_their_shape_and_type(tmp_path):
    rows = np.random.default_rng(0).random((3, 2, 5))
    with opened(tmp_path) as shared:
        assert shared.shape() is None
        for _ in range(2):
            found = shared.rows(np.arange(3), [], 3, lambda ids: rows)
            np.testing.assert_array_equal(found, rows)
            assert found.dtype == rows.dtype
        assert shared.shape() == (2, 5)


def test_what_is_no_pool_is_refused_and_kept(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="file is a file, and features that runs share need a folder"):
        check_shared(tmp_path / "file")
    with pytest.raises(RunError, match=r"holds file but no pool\.json of this version"), opened(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    check_shared(tmp_path / "new")
    with opened(tmp_path / "new"):
        pass
    check_shared(tmp_path / "new")
    content = json.loads((tmp_path / "new" / "pool.json").read_text())
    (tmp_path / "new" / "pool.json").write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(RunError, match=r"new holds features that runs of another version .* share: delete it"):
        check_shared(tmp_path / "new")
    assert json.loads((tmp_path / "new" / "pool.json").read_text())["format"] == 2


def test_files_of_others_in_a_pool_stay(tmp_path):
    with opened(tmp_path) as shared:
        asked(shared, range(4), Network())
    group = files(tmp_path)[0].parent
    (group / "notes.txt").write_text("mine")
    with opened(tmp_path) as shared:
        asked(shared, range(8), Network())
    assert (group / "notes.txt").read_text() == "mine"


def test_a_second_process_waits_and_then_finds_the_rows(tmp_path):
    waiting = "lambda: print('waiting', flush=True)"
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom braindiffuser.store.shared_rows import open_shared_rows\n"
        f"with open_shared_rows(Path({str(tmp_path)!r}), lambda: {FACTS!r}, {NAMES!r}, {waiting}) as shared:\n"
        "    print(shared.rows(np.arange(4), [], 4, None)[:, 0].tolist())\n"
    )
    with opened(tmp_path) as shared:
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "waiting\n"
        asked(shared, range(4), Network())
    assert other.communicate(timeout=60)[0].strip() == "[0.0, 1.0, 2.0, 3.0]"
    assert other.returncode == 0


@pytest.mark.parametrize("content", [None, b"", b'{"format": 1'], ids=["lost", "empty", "cut short"])
def test_a_pool_whose_marker_is_lost_or_damaged_goes_on_and_is_marked_again(tmp_path, content):
    with opened(tmp_path) as shared:
        asked(shared, range(8), network := Network())
    marker = tmp_path / "pool.json"
    whole = marker.read_bytes()
    marker.unlink() if content is None else marker.write_bytes(content)
    check_shared(tmp_path)
    with opened(tmp_path) as shared:
        np.testing.assert_array_equal(asked(shared, range(8), network), alone(range(8)))
    assert (marker.read_bytes(), len(network.batches)) == (whole, 2)


@pytest.mark.parametrize("spoil", ["another file", "another folder", "another version", "no group"])
def test_what_is_not_known_as_a_pool_is_never_marked(tmp_path, spoil):
    from braindiffuser.store.checked_json import write_checked

    with opened(tmp_path) as shared:
        asked(shared, range(4), Network())
    (tmp_path / "pool.json").write_bytes(b"")
    if spoil == "another file":
        (tmp_path / "notes.txt").write_text("mine")
    elif spoil == "another folder":
        (tmp_path / ("0" * 64)).mkdir()
    elif spoil == "another version":
        write_checked(tmp_path / "pool.json", {"format": 2})
    else:
        next(path for path in tmp_path.iterdir() if path.is_dir()).rename(tmp_path.parent / f"moved-{tmp_path.name}")
    with pytest.raises(RunError, match="away, or choose an empty folder"):
        check_shared(tmp_path)


def test_a_pool_below_a_file_or_with_a_link_in_it_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="file is a file, and features that runs share need a folder"):
        check_shared(tmp_path / "file" / "below" / "pool")
    with opened(tmp_path / "pool") as shared:
        asked(shared, range(4), Network())
    group = next(path for path in (tmp_path / "pool").iterdir() if path.is_dir())
    group.rename(tmp_path / "elsewhere")
    group.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=f"{group.name} is a link"):
        check_shared(tmp_path / "pool")


def test_rows_count_only_if_what_they_depend_on_is_as_it_was_when_they_were_computed(tmp_path):
    facts = {"picture": "as it was"}

    def replaced(ids):
        facts.update(picture="another")
        return np.full((len(ids), 2), np.nan, np.float32)

    with opened(tmp_path, facts) as shared:
        asked(shared, range(4), Network())
        shared.keep()

    def end_by(ending):
        with opened(tmp_path, facts) as shared:
            shared.rows(np.arange(4, 8), [], 4, replaced)
            ending(shared)

    for ending in (SharedRows.keep, lambda shared: shared.null(lambda: np.ones((1, 2))), lambda shared: None):
        with pytest.raises(RunError, match="were changed while they were read"):
            end_by(ending)
        facts["picture"] = "as it was"
        assert len(files(tmp_path)) == 1
        assert not list(tmp_path.rglob("null*"))
    with opened(tmp_path, facts) as shared:
        np.testing.assert_array_equal(asked(shared, range(8), network := Network()), alone(range(8)))
    assert network.batches == [[4, 5, 6, 7]]
