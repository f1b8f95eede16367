"""Laws of names of regions: exact first, then whatever the spelling, never one of several."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braindiffuser.datasets.region_expressions import read_expressions
from braindiffuser.datasets.region_names import own_name, plain, with_hint
from braindiffuser.errors import RecordingError

KNOWN = ["FFA-1", "FFA_1", "early vis", "V1v", "V1d", "hV4", "a|b"]
letters = st.text("aB1-_ +", min_size=1, max_size=5)


def regions_meant(written, known):
    """Return the own names of all regions that entries name, each once."""
    read = read_expressions(written, dict.fromkeys(known, np.ones(1, bool)))
    return {
        entry: tuple(dict.fromkeys(name for expression in own for name in expression.names))
        for entry, own in read.items()
    }


def meant(*names, known=KNOWN):
    return regions_meant({"responses.rois": names}, known)["responses.rois"]


def test_the_closest_regions_are_named_once_each():
    assert with_hint("odd", [], ["J:!odd", "V1"]) == "'odd' (closest: J:!odd)"
    assert with_hint("J:odt", [], ["J:odd"]) == "'J:odt' (closest: J:odd)"


@given(st.sets(letters, min_size=1))
def test_a_name_as_it_is_written_means_itself(names):
    assert meant(*sorted(names), known=names) == tuple(sorted(names))


@given(st.lists(letters, min_size=1, unique_by=plain), st.data())
def test_any_spelling_means_the_one_region_of_that_spelling(names, data):
    name = data.draw(st.sampled_from(names))
    other = data.draw(st.sampled_from([name.upper(), name.lower(), name.replace("-", "_"), f" {name}-"]))
    assert own_name(other, names) == name or other in names


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["hv-4"], ("hV4",)),
        (["V1v | V1d"], ("V1v", "V1d")),
        (["v1V|V1_D", "V1d"], ("V1v", "V1d")),
        (["Early-Vis"], ("early vis",)),
        (["FFA-1"], ("FFA-1",)),
        (["a|b"], ("a|b",)),
        (["A | B"], ("a|b",)),
        ([], ()),
    ],
)
def test_names_and_unions_mean_regions_each_once(written, expected):
    assert meant(*written) == expected


def test_all_unknown_names_are_in_one_message_with_the_closest_and_those_that_there_are():
    with pytest.raises(RecordingError) as caught:
        regions_meant({"responses.rois": ["V1w | zzzz", "hV4"], "dataset.roi_aliases.faces": ["hv5"]}, KNOWN)
    assert str(caught.value) == (
        "there is no region 'V1w' (closest: V1v, V1d), 'zzzz', which responses.rois names, and no 'hv5' (closest: hV4), which "
        "dataset.roi_aliases.faces names; this recording has FFA-1, FFA_1, V1d, V1v, a|b, early vis, hV4"
    )


def test_a_spelling_of_two_regions_is_refused_and_names_both():
    with pytest.raises(RecordingError, match=r"'ffa1' \(spelled like FFA-1 and FFA_1: write one of them\)"):
        meant("ffa1")


@pytest.mark.parametrize("written", ["V1v |", "|", "V1v || V1d", " "])
def test_a_union_with_an_empty_part_is_refused(written):
    with pytest.raises(RecordingError, match="no region"):
        meant(written)


def test_of_many_regions_some_are_listed():
    with pytest.raises(RecordingError, match=r"r19 and 5 more$"):
        meant("zzzz", known=[f"r{n:02}" for n in range(25)])


def test_a_region_that_is_near_by_two_spellings_is_named_once():
    assert with_hint("J:!od", [], ["J:!odd"]) == "'J:!od' (closest: J:!odd)"
