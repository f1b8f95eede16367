"""Laws of regions as columns: 1 and 0 however they are written; what is none is named, fractions apart."""

import numpy as np
import pandas as pd
import pytest

from braindiffuser.datasets.region_columns import check_no_fractions, regions_in
from braindiffuser.errors import RecordingError

TRUTH = np.arange(6) % 3 == 1


def read(**columns):
    return regions_in(pd.DataFrame(columns), lambda name: name == "nc")


@pytest.mark.parametrize(
    "values",
    [
        TRUTH,
        TRUTH.astype(int),
        TRUTH.astype(float),
        np.where(TRUTH, 1, np.nan),
        np.where(TRUTH, "TRUE", "false"),
        np.where(TRUTH, "yes", "no"),
        np.array(["0", True, "False", "0.0", "1", 0], dtype=object),
    ],
)
def test_truth_values_are_regions(values):
    regions, *others = read(V1=values)
    np.testing.assert_array_equal(regions["V1"], TRUTH)
    assert others == [{}, ()]


@pytest.mark.parametrize("values", [[0.4] * 3 + [0.6] * 3, [0, 1, 1, 0, 0.999, 1], [0, 0, 1e-6, 0, 0, 0], ["0.5"] * 6])
def test_fractions_are_no_regions_and_named_apart(values):
    found = read(V1=TRUTH, r2=values)
    assert (list(found.regions), list(found.fractions), found.others) == (["V1"], ["r2"], ())
    assert read(nc=values) == ({}, {}, ())


@pytest.mark.parametrize(
    "values", [[0, 1, 2, 0, 1, 2], ["a"] * 6, [-0.5, 0, 1, 0, 1, 0], [np.nan] * 6, ["1", "1", "maybe", "0", "0", "0"]]
)
def test_what_is_no_region_is_named(values):
    found = read(V1=TRUTH, column=values)
    assert (list(found.regions), found.fractions, found.others) == (["V1"], {}, ("column",))


@pytest.mark.parametrize("value", [0.6, 0.9999, 2, -1, np.inf])
def test_a_marked_column_holds_1_and_0_alone(value):
    check_no_fractions(np.array([1, 0, np.nan, 1.0]), "ROI_V1")
    with pytest.raises(RecordingError, match=f"ROI_V1 holds {value:.4g}"):
        check_no_fractions(np.array([1, value, np.nan]), "ROI_V1")
