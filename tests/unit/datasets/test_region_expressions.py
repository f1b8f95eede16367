"""Laws of expressions of regions: the algebra of sets, names before operators, and all faults in one message."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.known_regions import Further, KnownRegions
from braindiffuser.datasets.region_expressions import evaluate, read_expressions
from braindiffuser.datasets.voxel_maps import VoxelMaps
from braindiffuser.errors import RecordingError

RNG = np.random.default_rng(0)
NAMES = ("V1", "V2", "V3", "V4", "V1v", "V1d", "FFA-1", "floc-places", "hV4", "early vis")
MASKS = {name: RNG.random(200) < 0.4 for name in NAMES}
ECC = np.where(RNG.random(200) < 0.1, np.nan, RNG.uniform(0, 8, 200))
EDGES = {"ecc_0.5": (0, 0.5), "ecc_1": (0.5, 1), "ecc_2": (1, 2), "ecc_4": (2, 4), "ecc_4+": (4, np.inf)}
BANDS = {name: (low <= ECC) & (high > ECC) for name, (low, high) in EDGES.items()}
KNOWN = KnownRegions(MASKS, lambda: Further(maps=VoxelMaps.of({"ecc": ECC, "R2": 10 * ECC})))

texts = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["|", " & ", " | ", "&"]), inner).map(lambda made: f"({''.join(made)})"),
        inner.map(lambda text: f"!{text}"),
    ),
    max_leaves=6,
)


@settings(max_examples=25)
@given(texts, texts)
def test_operators_are_those_of_sets(a, b):
    first, second = evaluate(a, MASKS), evaluate(b, MASKS)
    np.testing.assert_array_equal(evaluate(f"{a} | {b}", MASKS), first | second)
    np.testing.assert_array_equal(evaluate(f"{a} & {b}", MASKS), first & second)
    np.testing.assert_array_equal(evaluate(f"!({a})", MASKS), ~first)
    np.testing.assert_array_equal(evaluate(f"!({a} | {b})", MASKS), evaluate(f"!{a} & !{b}", MASKS))
    np.testing.assert_array_equal(evaluate(f"!!({a})", MASKS), first)


@settings(max_examples=25)
@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_and_binds_before_or_and_not_before_and(a, b, c):
    np.testing.assert_array_equal(evaluate(f"{a} | {b} & {c}", MASKS), MASKS[a] | (MASKS[b] & MASKS[c]))
    np.testing.assert_array_equal(evaluate(f"!{a} & {b}", MASKS), ~MASKS[a] & MASKS[b])


@pytest.mark.parametrize("written", ["V1-V4", "v1–v4", "V1 - V4", "v_1-v4"])
def test_a_range_is_the_union_of_all_between(written):
    np.testing.assert_array_equal(evaluate(written, MASKS), evaluate("V1 | V2 | V3 | V4", MASKS))


@pytest.mark.parametrize(
    ("written", "name"),
    [("ffa 1", "FFA-1"), ("FLOC_PLACES", "floc-places"), ("h-V4", "hV4"), (" Early-Vis ", "early vis")],
)
def test_a_name_that_exists_is_no_range_and_is_spelled_freely(written, name):
    np.testing.assert_array_equal(evaluate(f"!{written} | V1", MASKS), ~MASKS[name] | MASKS["V1"])


def test_a_region_of_a_ranges_name_comes_first():
    masks = {**MASKS, "V1-V4": np.zeros(200, bool), "V1 & V2": np.ones(200, bool), "p<0.05": MASKS["V3"]}
    assert not evaluate("V1-V4", masks).any()
    assert evaluate("V1 & V2", masks).all()
    np.testing.assert_array_equal(evaluate("p<0.05 & V1", masks), MASKS["V3"] & MASKS["V1"])


@settings(max_examples=25)
@given(st.floats(0, 9), st.floats(0, 9))
def test_comparisons_of_a_map_hold_where_its_numbers_do_and_nan_keeps_none(a, b):
    low, high = sorted((a, b))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(evaluate(f"ecc<{high!r}", KNOWN), high > ECC)
        np.testing.assert_array_equal(evaluate(f"{high!r} > ecc", KNOWN), high > ECC)
        np.testing.assert_array_equal(evaluate(f"{low!r}<=ecc<{high!r}", KNOWN), (low <= ECC) & (high > ECC))
        np.testing.assert_array_equal(evaluate(f"r2>={low!r} & V1", KNOWN), (low <= 10 * ECC) & MASKS["V1"])
    assert not evaluate("ecc<1 | ecc>=1", KNOWN)[np.isnan(ECC)].any()


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("is_first", [True, False])
def test_limits_belong_to_what_their_sign_says(sign, is_first):
    """Also where a voxel lies on the limit, on either side of the map."""
    ecc = np.array([0.5, 1.0, 2.0])
    known = KnownRegions({}, lambda: Further(maps=VoxelMaps.of({"ecc": ecc})))
    compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[sign]
    written, expected = (f"1 {sign} ecc", compare(1, ecc)) if is_first else (f"ecc {sign} 1", compare(ecc, 1))
    np.testing.assert_array_equal(evaluate(written, known), expected)


def test_both_limits_of_a_range_belong_to_what_their_signs_say():
    known = KnownRegions({}, lambda: Further(maps=VoxelMaps.of({"ecc": np.array([1.0, 2.0, 3.0])})))
    for written, expected in {
        "1<=ecc<3": [True, True, False],
        "1<ecc<=3": [False, True, True],
        "3>=ecc>1": [False, True, True],
        "3>ecc>=1": [True, True, False],
    }.items():
        assert evaluate(written, known).tolist() == expected


@pytest.mark.parametrize("edge", [0.5, 1, 2, 4])
def test_bands_stand_in_for_a_map_of_eccentricity_at_their_limits(edge):
    masks = {**MASKS, **BANDS}
    np.testing.assert_array_equal(evaluate(f"ecc<{edge}", masks), np.isfinite(ECC) & (edge > ECC))
    np.testing.assert_array_equal(evaluate(f"{edge}<=ecc", masks), np.isfinite(ECC) & (edge <= ECC))
    np.testing.assert_array_equal(evaluate(f"0<=eccentricity<{edge}", masks), np.isfinite(ECC) & (edge > ECC))


@pytest.mark.parametrize("written", ["ecc<0.7", "ecc>5", "0.6<ecc<2", "ecc<0", "2<ecc<1"])
def test_bands_are_not_cut(written):
    with pytest.raises(RecordingError, match=r"limits of its bands are 0\.5, 1, 2, 4"):
        evaluate(written, {**MASKS, **BANDS})


def test_bands_with_a_gap_stand_in_for_nothing():
    gap = {name: mask for name, mask in BANDS.items() if name != "ecc_4"}
    with pytest.raises(RecordingError, match="compares 'ecc', but the recording has no maps"):
        evaluate("ecc<1", gap)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("V1 &", "no region stands after &"),
        ("| V1", r"no region stands before \|"),
        ("(V1 | V2", r"the \( of '\(V1 \| V2' is not closed"),
        ("V1)", r"the \) closes no \("),
        ("V1 !V2", r"expected \| or & before '!V2'"),
        ("V1 (V2)", r"expected \| or & before '\(V2\)'"),
        ("V4-V1", "'V4-V1' is no range: expected the lower number first"),
        ("V1-V1", "'V1-V1' is no range: expected the lower number first"),
        ("ecc = 1", "= compares nothing: write <, <=, > or >="),
        ("size<1", "compares 'size', but the recording has the maps ecc, R2"),
        ("1<2", "'1<2' does not compare one map with numbers"),
        ("1<ecc>2", "does not compare one map with numbers"),
        ("ecc<nan", "does not compare one map with numbers"),
        ("", "no region is named"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(written, said):
    with pytest.raises(RecordingError, match=f"analyses.a.regions holds .*: .*{said}"):
        read_expressions({"analyses.a.regions": [written]}, KNOWN)


def test_all_faults_of_all_entries_are_in_one_message():
    with pytest.raises(RecordingError) as caught:
        read_expressions({"responses.rois": ["V1 &", "(V2"], "x": ["V1 | zzz", "V2-V6", "V7 & v9", "V1-4"]}, MASKS)
    said = str(caught.value)
    for words in (
        "rois holds 'V1 &'",
        "rois holds '(V2'",
        "no region 'zzz', 'V5' (closest",
        "'V6' (closest",
        "'v9'",
        "'V1-4'",
        "which x names",
    ):
        assert words in said


def test_names_and_maps_in_an_expression_are_known_before_anything_is_read():
    def damaged():
        raise RecordingError("read too early")

    known = KnownRegions(MASKS, lambda: Further(maps=VoxelMaps({"ecc": damaged})))
    (expression,) = read_expressions({"x": ["(V1-V3) & ecc<1 & !hv4"]}, known)["x"]
    assert expression.names == ("V1", "V2", "V3", "hV4")
    assert expression.maps == ("ecc",)
    assert not expression.is_union
    with pytest.raises(RecordingError, match="read too early"):
        expression.mask(known)


def test_nothing_further_is_opened_for_own_regions():
    def refuse():
        raise AssertionError("opened")

    known = KnownRegions(MASKS, refuse)
    np.testing.assert_array_equal(evaluate("!V1 & (V1-V3 | ffa1)", known), evaluate("!V1 & (V1-V3 | ffa1)", MASKS))


def test_a_map_of_another_size_is_refused():
    known = KnownRegions(MASKS, lambda: Further(maps=VoxelMaps.of({"ecc": np.zeros(3)})))
    with pytest.raises(RecordingError, match=r"the map ecc has the shape \(3,\)"):
        evaluate("ecc<1", known)


@pytest.mark.parametrize("written", ["(" * 400 + "V1" + ")" * 400, "!" * 3000 + "V1"])
def test_what_is_nested_too_deeply_is_refused(written):
    with pytest.raises(RecordingError, match="more than 50 of"):
        evaluate(written, MASKS)


def test_a_union_of_many_regions_is_read():
    masks = {f"region {number}": np.arange(500) == number for number in range(500)}
    assert evaluate(" | ".join(masks), masks).all()
    assert evaluate("region-3 – REGION_90", masks).sum() == 88
