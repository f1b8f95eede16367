"""Networks of the paper's table with random weights: which layer, which shape, which preprocessing, which file."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import functional as T

from braindiffuser.errors import DependencyError
from braindiffuser.images import to_uint8
from braindiffuser.metrics import published_networks
from braindiffuser.metrics.profiles import Profile, profile_names
from braindiffuser.metrics.published_networks import (
    IMAGENET,
    NETWORKS,
    LPIPSFeatures,
    feature_network,
    fill,
    load_published_networks,
)
from braindiffuser.networks.catalogue import SCORING_NETWORKS
from braindiffuser.networks.clip import PIXEL_MEAN, PIXEL_STD

SIZES = {
    "alexnet": {"2": 192 * 27 * 27, "5": 256 * 13 * 13},
    "inception_v3": {"avgpool": 2048},
    "efficientnet_b1": {"avgpool": 1280},
    "swav": {"avgpool": 2048},
}
SMALL_CLIP = replace(
    NETWORKS["clip_vit_l14"],
    arguments={
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 56,
        "projection_dim": 12,
    },
)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).random((3, 3, 96, 96), np.float32)


def built(facts):
    torch.manual_seed(0)
    return facts.build()


def take_size(monkeypatch, name, path):
    """Take the size of a small stand-in for the published one of a network's checkpoint, and forget its hash."""
    file = replace(SCORING_NETWORKS[name], megabytes=path.stat().st_size / 1e6, sha256="")
    monkeypatch.setitem(published_networks.SCORING_NETWORKS, name, file)
    return file


def test_every_network_of_the_profiles_is_declared_with_its_layers():
    needed: dict[str, set[str]] = {}
    for name in profile_names():
        for network, layers in Profile.load(name).layers.items():
            needed.setdefault(network, set()).update(layers)
    assert {name: layers for name, layers in needed.items() if name in SCORING_NETWORKS} == {
        name: set(facts.layers) for name, facts in NETWORKS.items()
    }


@pytest.mark.parametrize("name", SIZES)
def test_layers_have_the_published_sizes_and_batches_change_nothing(name, pictures):
    network = built(NETWORKS[name])
    features = feature_network(network, NETWORKS[name], batch_size=2)(pictures)
    assert {layer: rows.shape for layer, rows in features.items()} == {k: (3, n) for k, n in SIZES[name].items()}
    together = feature_network(network, NETWORKS[name], batch_size=3)(pictures)
    for layer, rows in features.items():
        np.testing.assert_allclose(rows, together[layer], rtol=1e-4, atol=1e-5)


def test_pictures_enter_as_pillow_resizes_them_and_standardised(pictures):
    network = built(NETWORKS["alexnet"]).eval()
    entered = torch.stack(
        [
            T.normalize(T.to_tensor(Image.fromarray(raw).resize((224, 224), Image.Resampling.BILINEAR)), *IMAGENET)
            for raw in to_uint8(pictures)
        ]
    )
    with torch.inference_mode():
        second = network.features[:5](entered).flatten(1).numpy()  # convolution, ReLU, pool, convolution, ReLU
        fifth = network.features[:12](entered).flatten(1).numpy()
    features = feature_network(network, NETWORKS["alexnet"])(pictures)
    np.testing.assert_allclose(features["2"], second, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(features["5"], fifth, rtol=1e-4, atol=1e-6)
    assert features["2"].min() == 0


def test_clip_gives_its_projected_embedding_of_pictures_standardised_its_own_way(pictures):
    network = built(SMALL_CLIP).eval()
    entered = torch.stack(
        [
            T.normalize(
                T.to_tensor(Image.fromarray(raw).resize((224, 224), Image.Resampling.BILINEAR)), PIXEL_MEAN, PIXEL_STD
            )
            for raw in to_uint8(pictures)
        ]
    )
    with torch.inference_mode():
        expected = network(pixel_values=entered).image_embeds.numpy()
    features = feature_network(network, SMALL_CLIP)(pictures)["final"]
    assert features.shape == (3, 12)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)


def test_clip_has_the_size_of_vit_l14():
    with torch.device("meta"):
        network = NETWORKS["clip_vit_l14"].build()
    assert sum(parameter.numel() for parameter in network.parameters()) == 303_966_208
    assert network.vision_model.embeddings.position_embedding.weight.shape == (257, 1024)


def test_inception_takes_its_input_as_with_its_published_checkpoint():
    assert NETWORKS["inception_v3"].build().transform_input


def test_swav_is_read_from_its_training_checkpoint(tmp_path, pictures, monkeypatch):
    facts, path = NETWORKS["swav"], tmp_path / SCORING_NETWORKS["swav"].name
    network = built(facts)
    stored = {f"module.{name}": tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    torch.save(stored | {"module.prototypes.weight": torch.zeros(3, 4)}, path)
    take_size(monkeypatch, "swav", path)
    loaded, missing = load_published_networks(["swav"], tmp_path)
    assert missing == {}
    expected = feature_network(network, facts)(pictures)["avgpool"]
    np.testing.assert_allclose(loaded["swav"](pictures)["avgpool"], expected, rtol=1e-4, atol=1e-5)


def test_clip_is_read_from_the_whole_model(tmp_path, monkeypatch):
    network = built(SMALL_CLIP)
    path = tmp_path / "clip.safetensors"
    save_file(
        {**network.state_dict(), "text_model.embeddings.weight": torch.zeros(3), "logit_scale": torch.ones(1)}, path
    )
    other = SMALL_CLIP.build()
    fill(other, SMALL_CLIP, take_size(monkeypatch, "clip_vit_l14", path), path)
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[name])


def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path):
    (tmp_path / SCORING_NETWORKS["alexnet"].name).write_bytes(b"half a file")
    with pytest.raises(DependencyError, match=r"alexnet-owt-7be5be79\.pth is truncated or changed: it has 11 bytes"):
        load_published_networks(["alexnet"], tmp_path)


def test_clip_is_compared_with_its_pinned_hash(tmp_path, monkeypatch):
    path = tmp_path / "clip.safetensors"
    save_file(built(SMALL_CLIP).state_dict(), path)
    pinned = SCORING_NETWORKS["clip_vit_l14"].sha256
    file = replace(take_size(monkeypatch, "clip_vit_l14", path), sha256=pinned)
    with pytest.raises(DependencyError, match=rf"clip\.safetensors is truncated or changed: .*expected {pinned}"):
        fill(built(SMALL_CLIP), SMALL_CLIP, file, path)


def test_what_is_no_checkpoint_of_the_network_is_named(tmp_path, monkeypatch):
    path = tmp_path / SCORING_NETWORKS["swav"].name
    for stored, words in (
        (
            {"module.conv1.weight": torch.zeros(64, 3, 7, 7)},
            r"\d+ of 318 tensors .*bn1\.bias: expected \(64,\), found none.*; delete that file and download https://dl\.fba",
        ),
        (
            {"network": built(NETWORKS["alexnet"]).features[0]},
            r"no checkpoint \(Unsupported global: .*Conv2d.*by default\); delete it and run",
        ),  # no pickle is run
    ):
        torch.save(stored, path)
        take_size(monkeypatch, "swav", path)
        with pytest.raises(DependencyError, match=rf"swav_800ep_pretrain\.pth\.tar .*{words}"):
            load_published_networks(["swav"], tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    take_size(monkeypatch, "swav", path)
    with pytest.raises(
        DependencyError, match=r"swav_800ep_pretrain\.pth\.tar is truncated or changed: it is damaged, cut short"
    ):
        load_published_networks(["swav"], tmp_path)


def test_numbers_that_are_not_finite_are_named(tmp_path, monkeypatch):
    network, path = built(NETWORKS["alexnet"]), tmp_path / SCORING_NETWORKS["alexnet"].name
    network.features[3].bias.data[5] = float("nan")
    torch.save(network.state_dict(), path)
    take_size(monkeypatch, "alexnet", path)
    with pytest.raises(
        DependencyError, match=r"7be5be79\.pth holds numbers that are NaN .*tensor features\.3\.bias; delete"
    ):
        load_published_networks(["alexnet"], tmp_path)


def test_what_is_missing_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    loaded, missing = load_published_networks(list(NETWORKS), tmp_path)
    assert loaded == {}
    assert set(missing) == set(NETWORKS)
    assert "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth (244 MB" in missing["alexnet"]
    assert str(tmp_path / "swav_800ep_pretrain.pth.tar") in missing["swav"]


def filled_at_random(network, facts, file, path, device="cpu"):
    """Fill a network on torch's meta device without a file of hundreds of megabytes."""
    network.to_empty(device=device)
    for tensor in network.state_dict().values():
        tensor.zero_() if tensor.is_floating_point() else tensor.fill_(1)


def test_ways_of_taking_pictures_share_one_network(tmp_path, monkeypatch):
    (tmp_path / SCORING_NETWORKS["alexnet"].name).write_bytes(b"")
    calls = []
    monkeypatch.setattr(
        published_networks, "fill", lambda *given: calls.append(given[3].name) or filled_at_random(*given)
    )
    loaded, missing = load_published_networks(["alexnet", "alexnet_256", "alexnet_299"], tmp_path)
    assert (set(loaded), missing, calls) == (
        {"alexnet", "alexnet_256", "alexnet_299"},
        {},
        ["alexnet-owt-7be5be79.pth"],
    )


def test_lpips_is_loaded_from_its_weights_and_alexnet(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(published_networks, "fill", filled_at_random)
    weights = {f"lin{place}.model.1.weight": torch.rand(1, n, 1, 1) for place, n in enumerate((64, 192, 384, 256, 256))}
    path = tmp_path / SCORING_NETWORKS["lpips_alexnet"].name
    torch.save(weights, path)
    take_size(monkeypatch, "lpips_alexnet", path)
    loaded, missing = load_published_networks(["lpips_alexnet"], tmp_path)
    assert loaded == {}
    assert "alexnet-owt-7be5be79.pth (244 MB" in missing["lpips_alexnet"]
    (tmp_path / SCORING_NETWORKS["alexnet"].name).write_bytes(b"")
    loaded, missing = load_published_networks(["lpips_alexnet"], tmp_path)
    assert missing == {}
    n_features = 64 * 15**2 + 192 * 7**2 + (384 + 256 + 256) * 3**2
    assert loaded["lpips_alexnet"](pictures)["weighted"].shape == (3, n_features)
    assert not loaded["lpips_alexnet"](pictures)["weighted"].any()  # of a network of zeros, not NaN


@pytest.mark.parametrize(
    "change",
    [
        lambda own: own.pop("lin0.model.1.weight"),
        lambda own: own.update({"lin0.model.1.weight": torch.full((1, 64, 1, 1), -1.0)}),
        lambda own: own.update({"lin1.model.1.weight": torch.zeros(1, 3, 1, 1)}),
        lambda own: own.update({"lin2.model.1.weight": torch.full((1, 384, 1, 1), float("nan"))}),
    ],
)
def test_other_weights_than_those_of_lpips_are_refused(tmp_path, change):
    own = {f"lin{place}.model.1.weight": torch.zeros(1, n, 1, 1) for place, n in enumerate(LPIPSFeatures.CHANNELS)}
    with torch.device("meta"):
        network = LPIPSFeatures()
    change(own)
    with pytest.raises(DependencyError, match=r"w\.pth does not hold the weights of LPIPS"):
        network.take_weights(own, tmp_path / "w.pth")
