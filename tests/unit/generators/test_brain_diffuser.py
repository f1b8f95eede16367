"""Laws of Brain-Diffuser's variants: which networks, groups, starts and weights each draws with, and what it is known by."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from braindiffuser import images
from braindiffuser.generators import diffusion, low_level
from braindiffuser.generators.brain_diffuser import BrainDiffuser
from braindiffuser.generators.diffusion import DiffusionNetworks, Embeddings
from braindiffuser.generators.generator import Generator, Variant
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import load_autoencoder, load_unet, load_vdvae

FOLDERS = {name: f"demo/{name}" for name in ("vdvae", "autoencoder", "unet")}
IDS = np.array([7, 3])
SECOND_STAGE = ("full", "without_low_level", "without_text", "without_vision", "vision_alone", "text_alone")
SIZE = 48


class FakeNetworks(NetworkCache):
    """Remembers what is loaded, and loads nothing."""

    def __init__(self, device="cpu"):
        super().__init__(device)
        self.asked = {}

    def load(self, folder, load, *settings):
        network = SimpleNamespace(folder=folder, config=SimpleNamespace(sample_size=SIZE), device=None)
        network.to = lambda device: SimpleNamespace(**(vars(network) | {"device": device}))
        self.asked[folder.name] = settings
        return network

    def load_to_device(self, folder, load):
        return self.load(folder, load).to(self.device)


@pytest.fixture
def generator():
    return BrainDiffuser(**FOLDERS, diffusion={"vision_weight": 0.3, "n_steps": 2})


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    shapes = {"latents": (2, 10), "vision": (2, 5, 12), "text": (2, 6, 12)}
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture
def null(features):
    return {name: features[name][:1] / 2 for name in ("vision", "text")}


@pytest.fixture
def start():
    return np.random.default_rng(1).random((2, 3, SIZE, SIZE), np.float32)


@pytest.fixture
def reached(monkeypatch):
    """What reaches the functions of the two stages."""
    reached = {}

    def fake_reconstruct(networks, start, embeddings, null_embeddings, picture_ids, config, seed):
        reached["diffusion"] = SimpleNamespace(**locals())
        return np.full((len(picture_ids), 3, SIZE, SIZE), 0.5, np.float32)

    def fake_low_level(network, latents, picture_ids, config, seed):
        reached["low_level"] = SimpleNamespace(**locals())
        return np.tile(np.linspace(0, 1, 16, dtype=np.float32), (len(picture_ids), 3, 16, 1))

    monkeypatch.setattr(diffusion, "reconstruct", fake_reconstruct)
    monkeypatch.setattr(low_level, "reconstruct_low_level", fake_low_level)
    return reached


def groups(generator, features, variant):
    """Only the features that a variant says it looks at."""
    return {name: features[name] for name in generator.groups_of(variant)}


# Variants


def test_variants_are_the_method_and_what_is_left_of_it_without_a_part(generator):
    assert set(generator.variants) == {"low_level", *SECOND_STAGE}
    assert generator.ablations == {
        "low_level_only": "low_level",
        "without_low_level": "without_low_level",
        "without_text": "without_text",
        "without_vision": "without_vision",
    }
    assert generator.default_ablations == ("low_level_only", "without_low_level")
    assert {variant: generator.chain(variant) for variant in generator.variants} == {
        "low_level": ("low_level",),
        "full": ("low_level", "full"),
        "without_low_level": ("without_low_level",),
        "without_text": ("low_level", "without_text"),
        "without_vision": ("low_level", "without_vision"),
        "vision_alone": ("vision_alone",),
        "text_alone": ("text_alone",),
    }
    assert generator.branches == {"low_level": "latents", "vision_alone": "vision", "text_alone": "text"}


def test_variants_come_after_those_that_they_start_from(generator):
    order = list(generator.variants)
    for number, variant in enumerate(generator.variants.values()):
        assert variant.label
        assert bool(variant.ablation) or not variant.ablation_label
        assert variant.start is None or variant.start in order[:number]


def test_variants_look_at_the_groups_of_their_stage(generator):
    assert generator.groups_of("low_level") == ("latents",)
    assert {generator.groups_of(variant) for variant in SECOND_STAGE} == {("vision", "text")}
    assert set(generator.uses) == {"latents", "vision", "text"}


def test_a_variant_without_groups_of_its_own_looks_at_all_that_are_used():
    class Whole(Generator):
        uses: ClassVar = ("one", "other")
        variants: ClassVar = {"full": Variant("Whole")}

        def open(self, variant, null, networks, seed):
            raise NotImplementedError

    assert Whole().groups_of("full") == ("one", "other")
    assert Whole().ablations == {}


@pytest.mark.parametrize(
    ("variant", "weight"),
    [
        ("full", 0.3),
        ("without_low_level", 0.3),
        ("without_text", 1.0),
        ("without_vision", 0.0),
        ("vision_alone", 1.0),
        ("text_alone", 0.0),
    ],
)
def test_each_variant_of_the_second_stage_has_its_share_of_vision(
    generator, features, null, start, reached, variant, weight
):
    draw = generator.open(variant, null, FakeNetworks(), 9)
    begun = None if generator.variants[variant].start is None else start
    made = draw(groups(generator, features, variant), IDS, begun)
    assert made.shape == (2, 3, SIZE, SIZE)
    assert set(reached) == {"diffusion"}
    got = reached["diffusion"]
    assert got.config == generator.diffusion.model_copy(update={"vision_weight": weight})
    assert got.start is begun
    assert (got.start is None) == (variant in ("without_low_level", "vision_alone", "text_alone"))
    assert got.embeddings.vision is features["vision"]
    assert got.embeddings.text is features["text"]
    assert got.null_embeddings.vision is null["vision"]
    assert got.null_embeddings.text is null["text"]
    assert got.picture_ids is IDS
    assert got.seed == 9
    networks = got.networks
    assert (networks.unet.folder, networks.autoencoder.folder) == (BUNDLED / "demo/unet", BUNDLED / "demo/autoencoder")


def test_the_low_level_is_drawn_from_latents_alone_at_the_size_of_the_second_stage(generator, features, reached):
    networks = FakeNetworks("cuda:1")
    made = generator.open("low_level", {}, networks, 9)(groups(generator, features, "low_level"), IDS, None)
    assert made.shape == (2, 3, SIZE, SIZE)
    assert set(reached) == {"low_level"}
    got = reached["low_level"]
    assert got.latents is features["latents"]
    assert got.config == generator.low_level
    assert (got.picture_ids.tolist(), got.seed) == (IDS.tolist(), 9)
    assert (got.network.folder, got.network.device) == (BUNDLED / "demo/vdvae", "cuda:1")
    drawn = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (2, 3, 16, 1))
    np.testing.assert_array_equal(made, images.resize(drawn, SIZE))
    assert set(networks.asked) == {"vdvae", "autoencoder"}
    assert networks.asked["autoencoder"] == ("config",)  # its size alone, no weights


@pytest.mark.parametrize("variant", ["low_level", *SECOND_STAGE])
def test_a_variant_loads_the_checkpoints_that_it_names(generator, null, variant):
    networks = FakeNetworks()
    generator.open(variant, null, networks, 0)
    assert set(networks.asked) == set(generator.checkpoints_of(variant))
    assert all(folder == generator.checkpoints[name] for name, folder in generator.checkpoints_of(variant).items())


@pytest.mark.parametrize(
    ("precision", "device", "dtype"),
    [
        ("full", "cpu", torch.float32),
        ("half", "cpu", torch.float32),
        ("full", "cuda", torch.float32),
        ("half", "cuda:1", torch.float16),
    ],
)
def test_networks_have_the_precision_in_force(generator, null, precision, device, dtype):
    networks = FakeNetworks(device)
    half = generator.model_copy(update={"diffusion": generator.diffusion.model_copy(update={"precision": precision})})
    half.open("full", null, networks, 0)
    assert networks.asked == {"unet": (dtype, False), "autoencoder": (dtype, False)}
    said = half.influences(device)["diffusion"]["precision"]
    assert f"torch.{said}" == str(dtype)


def test_offloaded_networks_are_other_networks(generator, null):
    networks = FakeNetworks("cuda")
    diffusion_config = generator.diffusion.model_copy(update={"offload": True})
    generator.model_copy(update={"diffusion": diffusion_config}).open("full", null, networks, 0)
    assert networks.asked["unet"] == (torch.float32, True)


def test_pictures_are_those_of_the_two_functions(generator):
    rng = np.random.default_rng(2)
    networks = NetworkCache()
    unet, autoencoder = (
        load(BUNDLED / "demo" / name) for name, load in (("unet", load_unet), ("autoencoder", load_autoencoder))
    )
    vdvae = load_vdvae(BUNDLED / "demo" / "vdvae")
    config = unet.config
    tokens = {
        "vision": rng.random((2, 5, config.vision_dim), np.float32),
        "text": rng.random((2, 6, config.text_dim), np.float32),
    }
    null = {name: values[:1] for name, values in tokens.items()}
    latents = rng.standard_normal((2, 16), np.float32)
    first = generator.open("low_level", {}, networks, 3)({"latents": latents}, IDS, None)
    expected = low_level.reconstruct_low_level(vdvae, latents, IDS, generator.low_level, 3)
    np.testing.assert_array_equal(first, images.resize(expected, autoencoder.config.sample_size))
    for variant, start in {"full": first, "without_low_level": None}.items():
        made = generator.open(variant, null, networks, 3)(tokens, IDS, start)
        whole = DiffusionNetworks(unet, autoencoder, "cpu")
        embeddings, nothing = Embeddings(**tokens), Embeddings(**null)
        theirs = diffusion.reconstruct(whole, start, embeddings, nothing, IDS, generator.diffusion, 3)
        np.testing.assert_array_equal(made, theirs)


def test_variants_share_their_networks(generator, null):
    class Counting(NetworkCache):
        n_loaded = 0

        def load(self, folder, load, *settings):
            def counted(folder):
                self.n_loaded += 1
                return load(folder)

            counted.__qualname__ = load.__qualname__
            return super().load(folder, counted, *settings)

    networks = Counting()
    for variant in SECOND_STAGE:
        generator.open(variant, null, networks, 0)
    assert networks.n_loaded == 2


# Identity


@pytest.mark.parametrize(
    ("changes", "touched"),
    [
        ({"low_level": {"temperature": 0.5}}, {"low_level"}),
        ({"low_level": {"output": "mean"}}, {"low_level"}),
        ({"batch_size": 1}, set()),
        ({"diffusion": {"strength": 0.5}}, set(SECOND_STAGE)),
        ({"diffusion": {"offload": True}}, set()),
        ({"vdvae": "elsewhere/vdvae"}, {"low_level"}),
        ({"unet": "elsewhere/unet"}, set(SECOND_STAGE)),
        ({"autoencoder": "elsewhere/autoencoder"}, {"low_level", *SECOND_STAGE}),
    ],
)
def test_a_variant_is_known_by_the_entries_and_checkpoints_of_its_stage(changes, touched):
    one, other = BrainDiffuser(**FOLDERS), BrainDiffuser(**(FOLDERS | changes))

    def known_by(generator, variant):
        return generator.influences_of(variant, "cpu"), generator.checkpoints_of(variant)

    assert {variant for variant in one.variants if known_by(one, variant) != known_by(other, variant)} == touched


def test_half_precision_counts_on_a_gpu_only():
    full, half = (BrainDiffuser(**FOLDERS, diffusion={"precision": precision}) for precision in ("full", "half"))
    assert full.influences("cpu") == half.influences("cpu") == full.influences("cuda")
    for variant in full.variants:
        same = full.influences_of(variant, "cuda:1") == half.influences_of(variant, "cuda:1")
        assert same == (variant == "low_level")


# Without text


def test_without_text_pictures_are_those_of_the_ablation_without_text(generator):
    """Whatever the vision weight says: text is not there."""
    rng = np.random.default_rng(2)
    networks, config = NetworkCache(), load_unet(BUNDLED / "demo" / "unet").config
    tokens = {name: rng.random((2, 5, getattr(config, f"{name}_dim")), np.float32) for name in ("vision", "text")}
    null, start = {name: values[:1] for name, values in tokens.items()}, rng.random((2, 3, 64, 64), np.float32)
    expected = generator.open("without_text", null, networks, 3)(tokens, IDS, start)
    alone = generator.without({"text"})
    assert alone.kind == "brain_diffuser_vision"
    assert alone.uses == ("latents", "vision")
    seen = {"vision": tokens["vision"]}
    made = alone.open("full", {"vision": null["vision"]}, networks, 3)(seen, IDS, start)
    np.testing.assert_array_equal(made, expected)


def test_a_generator_does_without_groups_that_it_does_not_draw_from(generator):
    assert generator.without({"depth"}) is generator
    for groups_left_out in ({"vision"}, {"text", "latents"}):
        with pytest.raises(ValueError, match="generator brain_diffuser draws from"):
            generator.without(groups_left_out)
