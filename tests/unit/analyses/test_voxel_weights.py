"""Which regions matter to which decoder, on responses whose division of labour is known."""

from dataclasses import replace

import numpy as np
import pytest

from braindiffuser.analyses.run_decoders import RunDecoders
from braindiffuser.analyses.voxel_weights import VoxelWeights
from braindiffuser.datasets.known_regions import KnownRegions
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.errors import RecordingError, RunError
from braindiffuser.regression.ridge import RidgeRegression
from braindiffuser.regression.rows import TrainingRows

from .linear_world import run_of

GRID = (6, 8, 8)


def run_data(seed=0, n=200, shuffled=False, divided=True):
    """Voxels of the front two slices carry the latents, those of the last two what vision and text share."""
    rng = np.random.default_rng(seed)
    x = np.repeat(np.arange(6), 64)
    low, high = rng.standard_normal((2, n, 10))
    responses = 2 * rng.standard_normal((n, x.size))
    carried = {True: ((x < 2, low), (x > 3, high)), False: ((x < 2, low + high), (x > 3, low + high))}[divided]
    for chosen, factors in carried:
        responses[:, chosen] += factors @ rng.standard_normal((10, chosen.sum()))

    def features(factors, *shape):
        made = factors @ rng.standard_normal((10, int(np.prod(shape)))) + rng.standard_normal((n, int(np.prod(shape))))
        return made.reshape(n, *shape).astype(np.float32)

    targets = {"latents": features(low, 40), "vision": features(high, 3, 12), "text": features(high, 2, 12)}
    labels = rng.permutation(x) if shuffled else x
    part = RidgeRegression(alphas=dict.fromkeys(targets, (300.0,)), calibration="none")
    rows = TrainingRows(responses.astype(np.float32))
    decoders = RunDecoders(part, part.fit(rows, targets, "cpu"), rows, targets)
    rois = {"V1": labels == 0, "v2": labels == 1, "V4": labels < 0, "faces": labels == 4, "places": labels == 5}
    return run_of(
        rois=rois,
        noise_ceiling=np.full(384, np.nan),
        groups=tuple(targets),
        decoders=lambda: decoders,
        voxels=lambda: Voxels.in_volume(np.ones(GRID, bool), np.eye(4)),
    )


@pytest.fixture(scope="module")
def data():
    return run_data()


@pytest.fixture(scope="module")
def outcome(data):
    return VoxelWeights(n_random=320).run(data)


def signs(facts, kind, group):
    own = {name: region if kind == "weights" else region["patterns"] for name, region in facts["regions"].items()}
    return {name: np.sign(made["differences"][group]) * (made["p"][group] <= 0.02) for name, made in own.items()}


@pytest.mark.parametrize("kind", ["weights", "patterns"])
@pytest.mark.parametrize("group", ["vision", "text"])
def test_the_division_of_labour_comes_out(outcome, kind, group):
    assert signs(outcome.facts, kind, group) == {"V1": -1, "V2": -1, "faces": 1, "places": 1}


def test_it_vanishes_when_labels_are_shuffled_or_nothing_is_divided():
    for data in (run_data(shuffled=True), run_data(divided=False)):
        facts = VoxelWeights(n_random=200).run(data).facts
        p = [region[kind][g] for region in facts["regions"].values() for kind in ("p",) for g in ("vision", "text")]
        p += [region["patterns"]["p"][group] for region in facts["regions"].values() for group in ("vision", "text")]
        assert np.mean(np.array(p) <= 0.05) <= 0.25
        assert max(abs(region["differences"]["vision"]) for region in facts["regions"].values()) < 0.25


def test_random_regions_of_neighbours_differ_more_than_scattered_voxels(outcome):
    """Slices of this brain carry one thing each: neighbours share it, scattered voxels are a mix of all."""
    region = outcome.facts["regions"]["V1"]
    for group in ("vision", "text"):
        wide, narrow = (np.ptp(region[name][group]) for name in ("null_contiguous", "null"))
        assert wide > 2 * narrow


def test_percentiles_and_differences_are_the_equation(data, outcome):
    norms = data.decoders().weight_norms()
    for name, label in (("V1", "V1"), ("V2", "v2")):
        mask, own = data.rois[label], outcome.facts["regions"][name]
        mean = {
            group: np.mean([(made.weights_l1 <= norm).mean() for norm in made.weights_l1[mask]])
            for group, made in norms.items()
        }
        assert own["n_voxels"] == 64
        for group in ("vision", "text"):
            assert own["percentiles"][group] == pytest.approx(100 * mean[group])
            assert own["differences"][group] == pytest.approx((mean[group] - mean["latents"]) / mean["latents"])
            patterns = norms[group].patterns_l1
            share = np.mean([(patterns <= norm).mean() for norm in patterns[mask]])
            assert own["patterns"]["percentiles"][group] == pytest.approx(100 * share)


def test_regions_that_are_not_there_or_empty_are_said(outcome):
    said = ["The recording has no region V3, words, bodies.", "No chosen voxel lies in V4."]
    assert outcome.facts["remarks"] == said
    texts = " ".join(block.text for block in outcome.section.blocks if block.type == "text")
    assert " ".join(said) in texts
    for group in ("vision", "text"):
        where = f"{group} lies above latents in faces and places; {group} lies below latents in V1 and V2"
        assert f"By weights: {where}." in texts


def test_maps_are_norms_percentiles_and_their_differences(data, outcome):
    groups = {"latents", "vision", "text"}
    kinds = {"weights", "patterns"}
    expected = {f"{group}-{kind}{what}" for group in groups for kind in kinds for what in ("", "-percentile")}
    expected |= {f"{group}-less-latents-{kind}" for group in ("vision", "text") for kind in kinds}
    assert outcome.maps.keys() == expected
    norms = data.decoders().weight_norms()["vision"]
    np.testing.assert_array_equal(outcome.maps["vision-patterns"].values, norms.patterns_l1)
    difference = outcome.maps["vision-less-latents-weights"].values
    percentile = {group: outcome.maps[f"{group}-weights-percentile"].values for group in ("vision", "latents")}
    np.testing.assert_allclose(difference, percentile["vision"] - percentile["latents"])


def test_the_table_has_a_row_for_each_region_kind_and_group(outcome):
    table = outcome.tables["regions"]
    assert len(table) == 4 * 2 * 3
    row = table[(table.region == "faces") & (table.kind == "patterns") & (table.group == "text")].iloc[0]
    own = outcome.facts["regions"]["faces"]["patterns"]
    assert row.difference == own["differences"]["text"]
    assert (row.null_low, row.null_high) == tuple(own["null"]["text"])
    assert row.p_contiguous == own["p_contiguous"]["text"]


def test_unions_and_another_reference(data):
    facts = VoxelWeights(regions=("V1 | V2", "faces"), reference="vision", n_random=20).run(data).facts
    assert list(facts["regions"]) == ["V1 | V2", "faces"]
    assert facts["regions"]["V1 | V2"]["n_voxels"] == 128
    assert facts["groups"] == ["vision", "latents", "text"]
    assert facts["regions"]["faces"]["differences"].keys() == {"latents", "text"}


def test_a_regions_numbers_do_not_depend_on_the_other_regions(data, outcome):
    alone = VoxelWeights(n_random=320, regions=("faces",)).run(data).facts["regions"]
    assert alone == {"faces": outcome.facts["regions"]["faces"]}


def test_unknown_names_are_refused(data):
    with pytest.raises(RecordingError, match=r"no region 'V7'.*voxel_weights\.regions"):
        VoxelWeights(regions=("V1", "V7")).run(data)
    with pytest.raises(
        RunError, match="reference is 'colour', expected one of the target groups latents, vision, text"
    ):
        VoxelWeights(reference="colour").run(data)


def test_without_places_labels_are_shuffled_alone(data):
    outcome = VoxelWeights(n_random=20).run(replace(data, voxels=lambda: Voxels(384)))
    assert not outcome.facts["contiguous"]
    assert outcome.facts["regions"]["V1"]["p_contiguous"] is None
    assert "p_contiguous" not in outcome.tables["regions"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_linear": False}, "Only linear decoders have coefficients"),
        ({"known_regions": KnownRegions({})}, "There is no region with a voxel to compare in"),
    ],
)
def test_what_cannot_be_compared_is_said(data, changes, words):
    outcome = VoxelWeights(n_random=20).run(replace(data, **changes))
    assert words in outcome.section.blocks[0].text
