"""Laws of targets: features are those of the functions below, of each stimulus alone, and networks are loaded once."""

import numpy as np
import pytest
from pydantic import ValidationError

from braindiffuser.errors import RecordingError, RunError
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import load_clip, load_vdvae
from braindiffuser.targets.clip_text import CLIPText
from braindiffuser.targets.clip_tokens import extract_text_tokens, extract_vision_tokens, null_tokens
from braindiffuser.targets.clip_vision import CLIPVision
from braindiffuser.targets.target import Stimuli
from braindiffuser.targets.vdvae import VDVAELatents
from braindiffuser.targets.vdvae_latents import extract_latents

IDS = np.array([7, 3, 12])
TARGETS = {
    "vdvae": VDVAELatents(checkpoint="demo/vdvae", n_layers=3),
    "vdvae mean": VDVAELatents(checkpoint="demo/vdvae", n_layers=3, posterior="mean"),
    "clip_vision": CLIPVision(checkpoint="demo/clip"),
    "clip_vision as published": CLIPVision(checkpoint="demo/clip", resizing="as-published"),
    "clip_text": CLIPText(checkpoint="demo/clip"),
}


def pictures(ids):
    drawn = [np.random.default_rng([5, int(number)]).random((3, 24, 24), np.float32) for number in ids]
    return np.stack(drawn)


def captions(number):
    return (f"a small owl on the left {number}", "a castle")[: 1 + number % 2]


@pytest.fixture
def read():
    """What was asked of the recording."""
    return set()


@pytest.fixture
def stimuli(read):
    def some(ids):
        def read_pictures(wanted):
            read.add("stimuli")
            return pictures(wanted)

        def read_captions(number):
            read.add("captions")
            return captions(number)

        return Stimuli(np.asarray(ids), read_pictures, read_captions)

    return some


@pytest.fixture(scope="module")
def networks():
    return NetworkCache()


@pytest.fixture(params=list(TARGETS))
def target(request):
    return TARGETS[request.param]


def test_features_are_those_of_the_functions(stimuli, networks):
    found = {name: target.extract(stimuli(IDS), networks, 4) for name, target in TARGETS.items()}
    vdvae, clip = load_vdvae(BUNDLED / "demo" / "vdvae"), load_clip(BUNDLED / "demo" / "clip")
    expected = {name: extract_latents(vdvae, pictures(IDS), IDS, TARGETS[name], 4) for name in ("vdvae", "vdvae mean")}
    expected["clip_vision"] = extract_vision_tokens(clip, pictures(IDS))
    expected["clip_vision as published"] = extract_vision_tokens(clip, pictures(IDS), "as-published")
    expected["clip_text"] = extract_text_tokens(clip, [captions(int(number)) for number in IDS])
    for name, features in expected.items():
        np.testing.assert_array_equal(found[name], features)
        assert found[name].dtype == np.float32


def test_features_of_a_stimulus_do_not_depend_on_the_others(target, stimuli, networks):
    together = target.extract(stimuli(IDS), networks, 4)
    for order in ([2, 0, 1], [1], [0, 2]):
        found = target.extract(stimuli(IDS[order]), networks, 4)
        np.testing.assert_allclose(found, together[order], rtol=1e-3, atol=1e-4)


def test_only_samples_depend_on_the_seed(target, stimuli, networks):
    one, other = (target.extract(stimuli(IDS), networks, seed) for seed in (4, 5))
    assert np.array_equal(one, other) == (target != TARGETS["vdvae"])


def test_a_target_reads_what_it_declares(target, stimuli, networks, read):
    target.extract(stimuli(IDS), networks, 0)
    assert read == set(target.reads)
    read.clear()
    target.null(networks)
    assert read == set()


def test_nothing_has_features_where_it_guides(networks):
    vision, text = null_tokens(load_clip(BUNDLED / "demo" / "clip"))
    published, _ = null_tokens(load_clip(BUNDLED / "demo" / "clip"), "as-published")
    np.testing.assert_array_equal(TARGETS["clip_vision"].null(networks), vision)
    np.testing.assert_array_equal(TARGETS["clip_vision as published"].null(networks), published)
    np.testing.assert_array_equal(TARGETS["clip_text"].null(networks), text)
    assert TARGETS["vdvae"].null(networks) is None
    assert vision.shape[0] == text.shape[0] == 1


def test_one_clip_serves_two_groups(stimuli, monkeypatch):
    from braindiffuser.targets import clip_tokens as module

    loaded = []

    def counting(folder, device):
        loaded.append(folder)
        return load_clip(folder, device)

    monkeypatch.setattr(module, "load_clip", counting)
    networks = NetworkCache()
    for name in ("clip_vision", "clip_text", "clip_vision as published"):
        TARGETS[name].extract(stimuli(IDS[:1]), networks, 0)
        TARGETS[name].null(networks)
    assert loaded == [BUNDLED / "demo" / "clip"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: made.transpose(0, 2, 3, 1), r"came as float32 of shape \(3, 24, 24, 3\), expected float32 of"),
        (lambda made: made[..., :20], r"shape \(3, 3, 24, 20\), expected .* square, colours first"),
        (lambda made: made.astype(np.float64), "came as float64"),
        (lambda made: made * 255, "hold values from .*, expected 0 to 1"),
        (lambda made: made[:1], r"shape \(1, 3, 24, 24\)"),
    ],
)
@pytest.mark.usefixtures("types_unchecked")
def test_pictures_that_networks_would_take_for_something_else_are_refused(change, words):
    with pytest.raises(RecordingError, match=f"pictures of stimuli 7 to 12 .*{words}"):
        Stimuli(IDS, lambda ids: change(pictures(ids)), None).pictures()


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("found", ["one text", (1, 2)])
def test_captions_that_are_not_several_texts_are_refused(found):
    with pytest.raises(RecordingError, match=r"captions of stimulus 7 came as .*, expected a tuple of texts"):
        Stimuli(IDS, None, lambda number: found).captions()


def test_what_a_target_does_not_declare_is_not_read(networks):
    with pytest.raises(RunError, match='looks at captions must declare so: "captions" in its `reads`'):
        TARGETS["clip_text"].extract(Stimuli(IDS, pictures, None), networks, 0)
    with pytest.raises(RunError, match='looks at pictures must declare so: "stimuli" in its `reads`'):
        TARGETS["clip_vision"].extract(Stimuli(IDS, None, None), networks, 0)


def test_networks_compute_where_the_cache_says(stimuli, monkeypatch):
    asked, network = [], load_vdvae(BUNDLED / "demo" / "vdvae")

    def load(folder, device="cpu"):
        asked.append(str(device))
        return network

    monkeypatch.setattr("braindiffuser.networks.checkpoints.load_vdvae", load)
    TARGETS["vdvae"].extract(stimuli(IDS[:1]), NetworkCache("cuda:1"), 0)
    assert asked == ["cuda:1"]


def test_text_tokens_are_stored_in_full_precision_and_all_others_in_half():
    """Half precision moves text predictions (decision 10)."""
    assert (CLIPText.stored_as, CLIPVision.stored_as, VDVAELatents.stored_as) == ("float32", "float16", "float16")


def test_only_two_precisions_are_stored():
    class Bytes(CLIPText):
        stored_as = "int8"

    with pytest.raises(
        ValidationError, match=r"`stored_as` is 'int8'; training targets are stored in float16 or float32"
    ):
        Bytes(checkpoint="demo/clip")
