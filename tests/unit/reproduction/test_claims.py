"""Claims follow from numbers: constructed cases, and the paper's own tables."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braindiffuser.datasets.rois import CATEGORY_REGIONS, EARLY_REGIONS
from braindiffuser.metrics.profiles import Profile
from braindiffuser.reproduction import claims
from braindiffuser.reproduction.claims import (
    Claim,
    RankedMetric,
    ablation_claims,
    count_sentences,
    mean_and_sem,
    mean_ranks,
    weight_claims,
)
from braindiffuser.reproduction.published import METRICS, TABLE_2

pytestmark = pytest.mark.usefixtures("types_unchecked_here")

LOW_LEVEL = [key for key, metric in Profile.load("brain-diffuser-2023").metrics.items() if metric.is_low_level]
PAPER = [RankedMetric(key, key, key not in ("effnet", "swav"), key in LOW_LEVEL) for key in METRICS]
AS_PUBLISHED = {"subj01": {key: {name: row[key] for name, row in TABLE_2.items()} for key in METRICS}}


def rng():
    return np.random.default_rng(0)


def verdicts(claims):
    return [claim.verdict for claim in claims]


def test_the_papers_own_table_bears_its_claims():
    claims = ablation_claims(AS_PUBLISHED, PAPER, rng())
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
    claims = ablation_claims(_changed(variant, key, value), PAPER, rng())
    assert claims[number].verdict == "holds in part"
    assert claims[number].of_subjects == {"subj01": (key,)}
    assert f"subj01 not on {key}" in claims[number].sentence


def test_equal_values_are_no_order():
    tied = {"subj01": {"pixcorr": dict.fromkeys(TABLE_2, 0.3)}}
    claims = ablation_claims(tied, PAPER[:1], rng())
    assert verdicts(claims)[0] == "does not hold"
    assert verdicts(claims)[2] == "does not hold"
    assert verdicts(claims)[4] == "does not hold"


def test_a_claim_holds_in_part_where_one_of_two_subjects_bears_it():
    both = {**AS_PUBLISHED, **_changed("full", "pixcorr", 0.4, "subj02")}
    assert ablation_claims(both, PAPER, rng())[0].verdict == "holds in part"
    assert "1 of 2 subjects" in ablation_claims(both, PAPER, rng())[0].sentence


def test_what_was_not_drawn_is_not_tested():
    alone = {"subj01": {"pixcorr": {"full": 0.3}}}
    assert verdicts(ablation_claims(alone, PAPER, rng())) == ["not tested"] * 5
    assert verdicts(ablation_claims({}, PAPER, rng())) == ["not tested"] * 5
    assert "not tested" in ablation_claims({}, PAPER, rng())[0].sentence


@given(st.permutations(PAPER))
@settings(max_examples=10)
def test_the_order_of_metrics_does_not_matter(metrics):
    with pytest.MonkeyPatch.context() as patch:  # the verdict does not look at exchanges
        patch.setattr(claims, "N_SHUFFLED", 5)
        assert verdicts(ablation_claims(AS_PUBLISHED, metrics, rng())) == ["holds"] * 5


def _divided(early, categories, scale=1.0):
    return {**dict.fromkeys(EARLY_REGIONS, early * scale), **dict.fromkeys(CATEGORY_REGIONS, categories * scale)}


def test_a_division_of_labour_bears_the_claims_of_figure_8():
    subject = {"vision": _divided(-0.2, 0.1), "text": _divided(-0.2, 0.1, 1.5)}
    assert verdicts(weight_claims({"subj01": subject, "subj02": subject}, rng())) == ["holds"] * 5


def test_signs_turned_round_do_not():
    subject = {"vision": _divided(0.2, -0.1), "text": _divided(0.2, -0.1, 0.5)}
    assert verdicts(weight_claims({"subj01": subject}, rng())) == ["does not hold"] * 5


def test_regions_that_a_subject_lacks_are_left_out():
    claims = weight_claims({"a": {"vision": {"V1": -0.1, "places": 0.2}}, "b": {"vision": {"V1": -0.2}}}, rng())
    assert claims[0].tested == ("V1",)
    assert claims[1].verdict == "not tested"


def test_counts_that_agree_are_not_said():
    assert count_sentences("a", {"voxels": 3}, {"voxels": 3}) == []


def test_one_subject_has_no_standard_error():
    assert mean_and_sem([2.0]) == (2.0, None)


def test_an_untested_claim_says_so():
    assert Claim("It rains", {}, ()).sentence == "It rains: not tested, since the runs have no numbers of it."


def test_what_exchanged_labels_give_stands_beside_what_holds():
    """Of eight regions, four have the sign asked for; exchanged labels give half of 32 on average, and never all."""
    subject = {"vision": _divided(-0.2, 0.1), "text": _divided(-0.2, 0.1, 1.5)}
    signs, order, *_ = weight_claims(dict.fromkeys("abcd", subject), rng())
    for claim, least in ((signs, 14), (order, 0)):
        assert claim.n_held == 32
        mean, low, high = claim.shuffled
        assert least < mean < 18
        assert low <= mean <= high < 32
    assert f"(32 of 32 comparisons, where exchanged labels give {signs.shuffled[0]:.1f} [" in signs.sentence


def test_sizes_of_text_and_vision_are_held_against_exchanges_of_these_two():
    """Exchanged regions would leave text above vision as often as it was."""
    subject = {"vision": _divided(-0.2, 0.1), "text": _divided(-0.2, 0.1, 1.5)}
    sizes = weight_claims(dict.fromkeys("abcd", subject), rng())[-1]
    assert "larger in absolute value" in sizes.text
    assert "(32 of 32 comparisons, where labels exchanged region by region give " in sizes.sentence
    assert sizes.n_held == 32
    mean, low, high = sizes.shuffled
    assert mean == pytest.approx(16, abs=1)
    assert low < 14
    assert 18 < high < 32


def test_exchanged_labels_of_variants_bear_a_claim_as_often_as_chance():
    """Of five variants one is the best of a metric: a fifth of the exchanges."""
    best = ablation_claims(AS_PUBLISHED, PAPER, rng())[0]
    assert best.n_held == 4
    assert best.shuffled[0] == pytest.approx(4 / 5, abs=0.35)


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_regions_hold_no_more_than_exchanged_ones(seed):
    values = np.random.default_rng(seed).normal(size=(4, 8))
    regions = (*EARLY_REGIONS, *CATEGORY_REGIONS)
    given = {f"s{i}": {"vision": dict(zip(regions, row.tolist(), strict=True))} for i, row in enumerate(values)}
    claim = weight_claims(given, rng())[0]
    _, low, high = claim.shuffled
    assert low - 3 <= claim.n_held <= high + 3


def test_the_second_best_is_not_best_in_part():
    """The low level alone is ahead, the whole method second of three: no part of the claim holds."""
    values = {"full": 0.3, "low_level_only": 0.4, "without_low_level": 0.1}
    claim = ablation_claims({"a": {"pixcorr": values}}, PAPER[:1], rng())[-1]
    assert claim.verdict == "does not hold"
    assert "a not on mean rank (no better than low level only)" in claim.sentence
