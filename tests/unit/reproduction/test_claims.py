"""Claims follow from numbers: constructed cases, and the paper's own tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braindiffuser.reproduction.claims import (
    Claim,
    Metric,
    ablation_claims,
    count_sentences,
    mean_and_sem,
    mean_ranks,
    position,
    weight_claims,
)
from braindiffuser.reproduction.published import CATEGORIES, EARLY, METRICS, TABLE_1, TABLE_2

PAPER = [Metric(key, key, key not in ("effnet", "swav")) for key in METRICS]
AS_PUBLISHED = {"subj01": {key: {name: row[key] for name, row in TABLE_2.items()} for key in METRICS}}


def verdicts(claims):
    return [claim.verdict for claim in claims]


def test_the_papers_own_table_bears_its_claims():
    claims = ablation_claims(AS_PUBLISHED, PAPER)
    assert verdicts(claims) == ["holds"] * 5
    assert claims[0].tested == ("pixcorr", "ssim_column_mean", "alexnet_2", "alexnet_5")
    assert claims[1].tested == ("inception", "clip", "effnet", "swav")


def test_ranks_of_the_papers_table_by_hand():
    """Ranks on EffNet-B (lower is better): full 1, without VDVAE 2, without text 3, without vision 4, only VDVAE 5."""
    ranks = mean_ranks({"effnet": {name: row["effnet"] for name, row in TABLE_2.items()}}, PAPER)
    assert ranks == {"full": 1, "without_low_level": 2, "without_text": 3, "without_vision": 4, "low_level_only": 5}


def _changed(variant, key, value, subject="subj01"):
    scores = {key: dict(own) for key, own in AS_PUBLISHED["subj01"].items()}
    scores[key][variant] = value
    return {subject: scores}


@pytest.mark.parametrize(
    ("variant", "key", "value", "number"),
    [
        ("full", "pixcorr", 0.4, 0),
        ("without_vision", "swav", 0.9, 1),
        ("full", "alexnet_2", 0.1, 2),
        ("without_low_level", "clip", 0.2, 3),
    ],
)
def test_one_value_in_another_order_is_named(variant, key, value, number):
    claims = ablation_claims(_changed(variant, key, value), PAPER)
    assert claims[number].verdict == "holds in part"
    assert claims[number].of_subjects == {"subj01": (key,)}
    assert f"subj01 not on {key}" in claims[number].sentence


def test_equal_values_are_no_order():
    tied = {"subj01": {"pixcorr": dict.fromkeys(TABLE_2, 0.3)}}
    claims = ablation_claims(tied, PAPER[:1])
    assert verdicts(claims)[0] == "does not hold"
    assert verdicts(claims)[2] == "does not hold"
    assert verdicts(claims)[4] == "does not hold"


def test_a_claim_holds_in_part_where_one_of_two_subjects_bears_it():
    both = {**AS_PUBLISHED, **_changed("full", "pixcorr", 0.4, "subj02")}
    assert ablation_claims(both, PAPER)[0].verdict == "holds in part"
    assert "1 of 2 subjects" in ablation_claims(both, PAPER)[0].sentence


def test_what_was_not_drawn_is_not_tested():
    alone = {"subj01": {"pixcorr": {"full": 0.3}}}
    assert verdicts(ablation_claims(alone, PAPER)) == ["not tested"] * 5
    assert verdicts(ablation_claims({}, PAPER)) == ["not tested"] * 5
    assert "not tested" in ablation_claims({}, PAPER)[0].sentence


@given(st.permutations(PAPER))
def test_the_order_of_metrics_does_not_matter(metrics):
    assert verdicts(ablation_claims(AS_PUBLISHED, metrics)) == ["holds"] * 5


def _divided(early, categories, scale=1.0):
    return {**dict.fromkeys(EARLY, early * scale), **dict.fromkeys(CATEGORIES, categories * scale)}


def test_a_division_of_labour_bears_the_claims_of_figure_8():
    subject = {"vision": _divided(-0.2, 0.1), "text": _divided(-0.2, 0.1, 1.5)}
    assert verdicts(weight_claims({"subj01": subject, "subj02": subject})) == ["holds"] * 5


def test_signs_turned_round_do_not():
    subject = {"vision": _divided(0.2, -0.1), "text": _divided(0.2, -0.1, 0.5)}
    assert verdicts(weight_claims({"subj01": subject})) == ["does not hold"] * 5


def test_shuffled_regions_seldom_bear_the_signs():
    rng, held = np.random.default_rng(0), 0
    names = [*EARLY, *CATEGORIES]
    for _ in range(100):
        values = rng.permutation([-0.2] * 4 + [0.1] * 4).tolist()
        held += verdicts(weight_claims({"a": {"vision": dict(zip(names, values, strict=True))}}))[0] == "holds"
    assert held < 10


def test_regions_that_a_subject_lacks_are_left_out():
    claims = weight_claims({"a": {"vision": {"V1": -0.1, "places": 0.2}}, "b": {"vision": {"V1": -0.2}}})
    assert claims[0].tested == ("V1",)
    assert claims[1].verdict == "not tested"


def test_a_row_of_table_1_lies_within_itself():
    for row in TABLE_1.values():
        assert {position(value, [value - 0.01, value + 0.01], value) for value in row.values()} == {"within"}


def test_counts_that_agree_are_not_said():
    assert count_sentences("a", {"voxels": 3}, {"voxels": 3}) == []


def test_one_subject_has_no_standard_error():
    assert mean_and_sem([2.0]) == (2.0, None)


def test_an_untested_claim_says_so():
    assert Claim("It rains", {}, ()).sentence == "It rains: not tested, since the runs have no numbers of it."
