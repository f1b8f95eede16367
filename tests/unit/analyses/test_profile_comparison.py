"""The analysis of profiles: what it reads, what it leaves, what it says."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from braindiffuser.analyses import profile_comparison
from braindiffuser.analyses.profile_comparison import ProfileComparison
from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.images import PictureReader, from_uint8, resize
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer
from braindiffuser.report.profile_section import moved_sentence
from braindiffuser.stages import stages

from .linear_world import linear_world

N = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scenes, and blurred ones as their reconstructions; no network of a paper is there."""
    seen = from_uint8(compose_scenes(N, seed=4)[0])
    kinds = {"final": resize(resize(seen, 24), 64), "low_level": resize(resize(seen, 8), 64)}

    def made(kind):
        if kind not in kinds:
            raise RunError(f"there is no picture {kind}")
        return PictureReader(np.arange(N), lambda numbers: kinds[kind][numbers])

    return replace(
        linear_world(),
        test_sets={"test": slice(0, N)},
        stimulus_ids=lambda side: np.arange(100, 100 + N),
        seen=lambda side: PictureReader(np.arange(N), lambda numbers: seen[numbers]),
        made=made,
    )


@pytest.fixture(autouse=True)
def _no_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_pixels_of_every_profile_are_there_and_the_rest_is_named(data):
    outcome = ProfileComparison().run(data)
    facts = outcome.facts
    assert facts["n_images"] == N
    found = {name: set(own["metrics"]) for name, own in facts["profiles"].items()}
    assert found["brain-diffuser-2023"] == {"pixcorr", "ssim", "ssim_column_mean"}
    assert found["mindeye-2023"] == found["mindeye2-2024"] == {"pixcorr_256", "ssim_256"}
    assert found["takagi-2023"] == set()
    assert "alexnet_299" in facts["profiles"]["takagi-2023"]["missing"]
    assert "CLIP among 50" in facts["profiles"]["recommended"]["too_few"]
    names = {own["name"] for own in facts["moved"]}
    assert names == {"PixCorr", "SSIM"}
    text = " ".join(getattr(block, "text", "") for block in outcome.section.blocks)
    assert "mindeye2-2024 is of a blend: 75 % of each reconstruction and 25 % of its picture of kind low_level" in text
    assert "Networks that are not on this machine" in text
    assert "The stimuli of this run have 64 pixels a side" in text
    assert [
        figure.title for block in outcome.section.blocks if block.type == "figures" for figure in block.figures
    ] == ["Pixel metrics"]
    (table,) = (block for block in outcome.section.blocks if block.type == "table")
    assert table.fold  # the figures above show the same numbers
    assert table.columns == ("brain-diffuser-2023", "mindeye-2023", "mindeye2-2024", "recommended")
    assert table.rows[1].label == "SSIM ↑"
    pictures = outcome.tables["per_image"]
    assert list(pictures["stimulus_id"]) == list(range(100, 100 + N))
    alone = Scorer(data.seen("test"), Profile.load("pixels"), {}).score(data.made("final"))
    np.testing.assert_array_equal(pictures["brain-diffuser-2023_ssim"], alone["ssim"])


def test_the_sentence_names_the_number_that_moves_most_and_both_profiles(data):
    facts = ProfileComparison(profiles=("brain-diffuser-2023", "mindeye-2023")).run(data).facts
    most = facts["moved"][0]
    own = {
        profile: facts["profiles"][profile]["metrics"][facts["profiles"][profile]["prints"][most["name"]]]["value"]
        for profile in ("brain-diffuser-2023", "mindeye-2023")
    }
    assert most["difference"] == pytest.approx(abs(own["brain-diffuser-2023"] - own["mindeye-2023"]))
    said = moved_sentence(facts)
    assert said.startswith(f"The profile alone moves {most['name']} most: {own[most['low']]:.3f} under {most['low']} (")
    assert f"a difference of {most['difference']:.3f} ({most['difference'] / most['half_width']:.1f} times" in said
    assert said.endswith("times the half-width of a 95 % interval).")


def test_profiles_that_agree_and_profiles_that_share_nothing_are_said():
    moved = [{"name": "PixCorr", "low": "a", "high": "a", "difference": 0.0, "half_width": 0.1}]
    assert moved_sentence({"moved": moved, "profiles": {}}) == "PixCorr: the same under all profiles that print it."
    assert moved_sentence({"moved": [], "profiles": {}}).startswith("No two profiles print a number of the same name")


@pytest.mark.parametrize("blurry", [None, "draft"])
def test_without_blurry_pictures_the_profile_of_a_blend_is_left_out(data, blurry):
    said = []
    chosen = ProfileComparison(profiles=("mindeye-2023", "mindeye2-2024", "pixels"), blurry=blurry)
    outcome = chosen.run(replace(data, progress=lambda *words: said.append(words[0])))
    assert outcome.facts["profiles"]["mindeye2-2024"]["without_blend"]
    assert any("mindeye2-2024 is left out" in getattr(block, "text", "") for block in outcome.section.blocks)
    assert ("no blend is scored: there is no picture draft" in said) == (blurry == "draft")


def test_unknown_profiles_and_a_single_one_are_refused():
    with pytest.raises(ValidationError, match="there is no profile mindeye, choose one of brain-diffuser-2023"):
        ProfileComparison(profiles=("pixels", "mindeye"))
    with pytest.raises(ValidationError, match="names pixels twice"):
        ProfileComparison(profiles=("pixels", "pixels"))
    with pytest.raises(ValidationError):
        ProfileComparison(profiles=("pixels",))


def test_results_depend_on_what_profiles_compute_and_on_networks_that_come(tmp_path, monkeypatch):
    experiment = Experiment.load("demo").changed({"analyses": [{"kind": "profile_comparison"}]})
    analyse = stages()["analyse"]
    before = analyse.influences(experiment, "profile_comparison")
    assert before["analyses.profile_comparison"]["metrics"]["mindeye2-2024"]["blend"] == {
        "blurry_share": 0.25,
        "size": 256,
    }
    load = Profile.load
    monkeypatch.setattr(
        profile_comparison.Profile, "load", lambda name: load("pixels" if name == "takagi-2023" else name)
    )
    assert analyse.influences(experiment, "profile_comparison") != before
    monkeypatch.undo()
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path))
    assert analyse.available(experiment, "profile_comparison") == ()
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"")
    assert set(analyse.available(experiment, "profile_comparison")) == {"alexnet", "alexnet_256", "alexnet_299"}
