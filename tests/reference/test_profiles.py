"""Every profile against independent code, written after the scripts of the papers: sizes, layers, directions, formulas.

The networks have random weights, since those of the papers are not on every machine: what is held against other code is how
pictures enter, which layer is taken, and what is made of the features. The last test holds numbers that such code gave, so that a
change of a library is noticed too.

- Brain-Diffuser: `eval_extract_features.py`, `evaluate_reconstruction.py` (ozcelikfu/brain-diffuser)
- MindEye: `Reconstruction_Metrics.py` (MedARC-AI/fMRI-reconstruction-NSD; torchvision 0.15.2, scikit-image 0.20.0)
- MindEye2: `final_evaluations.ipynb` (MedARC-AI/MindEyeV2; torchvision 0.16.0, scikit-image 0.22.0)
- Takagi & Nishimoto: `img2feat_decoded.py`, `identification.py` (yu-takagi/StableDiffusionReconstruction)
- LPIPS: `lpips.py` (richzhang/PerceptualSimilarity, version 0.1)
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial
import torch
from PIL import Image
from safetensors.numpy import load_file
from scipy.stats import hypergeom
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from torchvision import transforms as T
from transformers import CLIPImageProcessor

from braindiffuser.images import from_uint8, resize_without_antialias
from braindiffuser.metrics.blend import blended
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.published_networks import NETWORKS, LPIPSFeatures, feature_network
from braindiffuser.metrics.scorer import Scorer
from braindiffuser.metrics.two_way_identification import correlations_of_samples, match_scores

VECTORS = Path(os.environ.get("BRAINDIFFUSER_REFERENCE_VECTORS", Path(__file__).parent / "vectors"))
IMAGENET = T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP = T.Normalize([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
GOLDEN = {
    "pixcorr_256": 0.7718874,
    "ssim_256": 0.9673772,
    "clip": 0.9389831,
    "clip_bicubic_per_stimulus": 0.9703390,
    "clip_among_50": 0.5425193,
    "clip_among_50_per_stimulus": 0.6356999,
    "effnet_v2_256": 0.7308480,
}
N = 3
"""Pictures that networks see here."""
SMALL_CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 56,
}


@pytest.fixture(scope="module")
def raw():
    """Pictures seen and reconstructed, 8 bits (8, 96, 96, 3)."""
    vectors = load_file(VECTORS / "metrics.safetensors")
    return vectors["images_true_uint8"], vectors["images_reconstructed_uint8"]


@pytest.fixture(scope="module")
def modules():
    """One network with random weights for each architecture."""
    torch.manual_seed(0)
    facts = {name: NETWORKS[name] for name in ("alexnet", "inception_v3", "efficientnet_b1", "swav")}
    facts["clip_vit_l14"] = replace(NETWORKS["clip_vit_l14"], arguments={**SMALL_CLIP, "projection_dim": 12})
    return {own.model: own.build().eval().requires_grad_(False) for own in facts.values()}


def hooked(network, layers, entered):
    """Features (n, d) of some modules, taken by hooks while a batch goes through: another way than the package's."""
    found, hooks = {}, []
    for layer in layers:

        def keep(_, __, output, layer=layer):
            found[layer] = output.clone().flatten(1).numpy()  # the next layer may work in place

        hooks.append(network.get_submodule(layer).register_forward_hook(keep))
    with torch.no_grad():
        network(entered)
    for hook in hooks:
        hook.remove()
    return found


def tensors(raw):
    return torch.from_numpy(raw.astype(np.float32) / 255).permute(0, 3, 1, 2)


def without_antialias(pictures, *sizes):
    for size in sizes:
        pictures = T.Resize((size, size), T.InterpolationMode.BILINEAR, antialias=False)(pictures)
    return pictures


def by_pillow(raw, size):
    """As the scripts of Brain-Diffuser and of Takagi & Nishimoto: a Pillow picture is resized, cropped, and made a tensor."""
    steps = T.Compose([T.Resize(size, T.InterpolationMode.BILINEAR), T.CenterCrop(size), T.ToTensor()])
    return torch.stack([steps(Image.fromarray(picture)) for picture in raw])


def embedding(network, entered):
    with torch.no_grad():
        return network(pixel_values=entered).image_embeds.numpy()


def per_reconstruction(reals, preds):
    r = np.corrcoef(reals, preds)[: len(reals), len(reals) :]
    return (r < np.diag(r)).sum(axis=0) / (len(reals) - 1)


def per_stimulus(seen, samples):
    """For each stimulus, how often its own samples correlate more with it, on average, than those of another one."""
    n = len(seen)
    mean = [
        [np.corrcoef(seen[i], np.array([own[j] for own in samples]))[0, 1:].mean() for j in range(n)] for i in range(n)
    ]
    return np.array([np.mean([mean[i][i] > mean[i][j] for j in range(n) if j != i]) for i in range(n)])


def distances(reals, preds):
    return np.array([scipy.spatial.distance.correlation(a, b) for a, b in zip(reals, preds, strict=True)])


def brain_diffuser(modules, raw):
    entered = by_pillow(raw, 224)
    alexnet = hooked(modules["alexnet"], ["features.4", "features.11"], IMAGENET(entered))
    return {
        "alexnet_2": alexnet["features.4"],
        "alexnet_5": alexnet["features.11"],
        "inception": hooked(modules["inception_v3"], ["avgpool"], IMAGENET(entered))["avgpool"],
        "clip": embedding(modules["clip_vision"], CLIP(entered)),
        "effnet": hooked(modules["efficientnet_b1"], ["avgpool"], IMAGENET(entered))["avgpool"],
        "swav": hooked(modules["resnet50"], ["avgpool"], IMAGENET(entered))["avgpool"],
    }


def mindeye(modules, pictures):
    first = without_antialias(pictures, 256)
    entered = {size: without_antialias(first, size) for size in (224, 255, 256, 342)}
    alexnet = hooked(modules["alexnet"], ["features.4", "features.11"], IMAGENET(entered[256]))
    return {
        "alexnet_2_256": alexnet["features.4"],
        "alexnet_5_256": alexnet["features.11"],
        "inception_256": hooked(modules["inception_v3"], ["avgpool"], IMAGENET(entered[342]))["avgpool"],
        "clip_256": embedding(modules["clip_vision"], CLIP(entered[224])),
        "effnet_v2_256": hooked(modules["efficientnet_b1"], ["avgpool"], IMAGENET(entered[255]))["avgpool"],
        "swav_256": hooked(modules["resnet50"], ["avgpool"], IMAGENET(entered[224]))["avgpool"],
    }


def takagi(modules, raw):
    entered = IMAGENET(by_pillow(raw, 299))
    alexnet = hooked(modules["alexnet"], ["features.5", "features.12", "classifier.5"], entered)
    pixels = CLIPImageProcessor()(images=[Image.fromarray(picture) for picture in raw], return_tensors="pt")
    return {
        "alexnet_pool2_per_stimulus": alexnet["features.5"],
        "alexnet_pool5_per_stimulus": alexnet["features.12"],
        "alexnet_7_per_stimulus": alexnet["classifier.5"],
        "inception_299_per_stimulus": hooked(modules["inception_v3"], ["dropout"], entered)["dropout"],
        "clip_bicubic_per_stimulus": embedding(modules["clip_vision"], pixels["pixel_values"]),
    }


def networks_of(profile, modules):
    return {name: feature_network(modules[NETWORKS[name].model], NETWORKS[name]) for name in profile.layers}


def check_features(name, modules, given, expected):
    """The features that a profile's metrics see are those of independent code; returns them by key."""
    profile = Profile.load(name).limited_to(expected)
    found = Scorer(given, profile, networks_of(profile, modules)).seen_features
    for key, features in expected.items():
        metric = profile.metrics[key]
        ours = found[metric.network][metric.layer]
        assert ours.shape == features.shape
        np.testing.assert_allclose(ours, features, rtol=0, atol=2e-4 * max(features.std(), 1e-3), err_msg=key)


def test_networks_of_brain_diffuser(modules, raw):
    check_features("brain-diffuser-2023", modules, from_uint8(raw[0][:N]), brain_diffuser(modules, raw[0][:N]))


def test_networks_of_mindeye(modules, raw):
    check_features("mindeye-2023", modules, from_uint8(raw[0][:N]), mindeye(modules, tensors(raw[0][:N])))


def test_networks_of_takagi(modules, raw):
    check_features("takagi-2023", modules, from_uint8(raw[0][:N]), takagi(modules, raw[0][:N]))


@pytest.mark.parametrize("name", ["brain-diffuser-2023", "mindeye-2023", "takagi-2023"])
def test_formulas(name):
    """What each profile makes of features: two-way identification in its direction, or one minus the correlation."""
    rng = np.random.default_rng(0)
    common = 2 * rng.standard_normal(25)
    seen = common + rng.standard_normal((40, 25))
    made = seen + rng.standard_normal((40, 25)) + 2 * rng.random((40, 1)) * common  # some resemble every stimulus
    found = {}
    for key, metric in Profile.load(name).metrics.items():
        if hasattr(metric, "network"):
            found[key] = metric.compare(seen, made)
            if key.startswith(("effnet", "swav")):
                expected = distances(seen, made)
            else:
                expected = per_stimulus(seen, [made]) if name == "takagi-2023" else per_reconstruction(seen, made)
            np.testing.assert_allclose(found[key], expected, rtol=0, atol=1e-12)
    assert (per_reconstruction(seen, made) != per_stimulus(seen, [made])).any()  # directions differ here


def test_five_samples_a_picture_as_takagi_averages_them():
    rng = np.random.default_rng(1)
    seen = rng.standard_normal((25, 20))
    samples = [seen + 4 * rng.standard_normal((25, 20)) for _ in range(5)]
    ours = np.diagonal(match_scores(correlations_of_samples(seen, samples), "per_stimulus"))
    np.testing.assert_allclose(ours, per_stimulus(seen, samples), rtol=0, atol=1e-12)
    assert ours.mean() > per_stimulus(seen, samples[:1]).mean()


def pixels_of_mindeye(seen, made):
    """PixCorr and SSIM of tensors that are at 256 pixels."""
    seen, made = (without_antialias(pictures, 425) for pictures in (seen, made))
    correlation = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(seen.numpy(), made.numpy(), strict=True)]
    grey = [rgb2gray(pictures.permute(0, 2, 3, 1).numpy()) for pictures in (seen, made)]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    similarity = [structural_similarity(b, a, **settings) for a, b in zip(*grey, strict=True)]
    return np.array(correlation), np.array(similarity)


def test_pixels_of_mindeye_and_of_mindeye2s_blend(raw):
    seen, made = map(tensors, raw)
    blurry = without_antialias(made, 24)
    at_256 = [without_antialias(pictures, 256) for pictures in (seen, made, blurry)]
    mixed = at_256[1] * 0.75 + at_256[2] * 0.25
    profile = Profile.load("mindeye2-2024")
    own = blended(made.numpy(), blurry.numpy(), profile.blend.blurry_share, profile.blend.size)
    np.testing.assert_allclose(own, mixed.numpy(), rtol=0, atol=2e-6)
    metrics = {key: profile.metrics[key] for key in ("pixcorr_256", "ssim_256")}
    for pictures, expected in (
        (made.numpy(), pixels_of_mindeye(*at_256[:2])),
        (own, pixels_of_mindeye(at_256[0], mixed)),
    ):
        only = Profile(name="pixels of MindEye", metrics=metrics)
        found = Scorer(seen.numpy(), only, {}).score(pictures)
        for key, values in zip(metrics, expected, strict=True):
            np.testing.assert_allclose(found[key], values, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [24, 95, 96, 97, 256])
def test_pictures_are_resized_as_tensors_are_without_antialias(raw, size):
    ours = resize_without_antialias(from_uint8(raw[0]), size)
    np.testing.assert_allclose(ours, without_antialias(tensors(raw[0]), size).numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("key", [f"clip_among_50{direction}" for direction in ("", "_per_stimulus")])
def test_identification_among_fifty_is_a_draw_of_49_distractors(key):
    """Own is best if none of the 49 drawn comes from those that correlate more: a hypergeometric probability."""
    rng = np.random.default_rng(2)
    seen = rng.standard_normal((60, 30))
    made = seen + 1.5 * rng.standard_normal((60, 30))
    r = np.corrcoef(seen, made)[:60, 60:]
    better = (r > np.diag(r)).sum(axis=0) if key == "clip_among_50" else (r > np.diag(r)[:, None]).sum(axis=1)
    expected = hypergeom.pmf(0, 59, better, 49)
    found = Profile.load("recommended").metrics[key].compare(seen, made)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert 0.1 < found.mean() < 0.95


def test_lpips(modules, raw):
    rng = np.random.default_rng(3)
    own = LPIPSFeatures()
    own.alexnet = modules["alexnet"]
    weights = {
        f"lin{place}.model.1.weight": torch.from_numpy(
            rng.random((1, n, 1, 1), np.float32) * (rng.random((1, n, 1, 1)) < 0.6)
        )
        for place, n in enumerate(LPIPSFeatures.CHANNELS)
    }
    own.take_weights(weights, Path("lpips.pth"))
    metric = Profile.load("recommended").metrics["lpips"]
    network = feature_network(own, NETWORKS[metric.network])
    seen, made = (network(from_uint8(pictures))[metric.layer] for pictures in raw)

    shift, scale = (torch.tensor(v).view(3, 1, 1) for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    total, outputs = 0, []
    for pictures in raw:
        x = (2 * by_pillow(pictures, 64) - 1 - shift) / scale
        outputs.append([])
        with torch.no_grad():
            for number, layer in enumerate(modules["alexnet"].features[:12]):
                x = layer(x.clone())
                if number in (1, 4, 7, 9, 11):
                    outputs[-1].append(x / (torch.sqrt((x**2).sum(dim=1, keepdim=True)) + 1e-10))
    for place, (a, b) in enumerate(zip(*outputs, strict=True)):
        weighted = torch.nn.functional.conv2d((a - b) ** 2, weights[f"lin{place}.model.1.weight"])
        total = total + weighted.mean(dim=(2, 3)).flatten()
    np.testing.assert_allclose(metric.compare(seen, made), total.numpy(), rtol=1e-4, atol=1e-6)


def test_golden_values(raw):
    """Means that the independent code above gave on the reference vectors (torchvision 0.29, scikit-image 0.26)."""
    seen, made = (from_uint8(pictures) for pictures in raw)
    vectors = load_file(VECTORS / "metrics.safetensors")
    features = vectors["features_true"], vectors["features_reconstructed"]
    published = Profile.load("mindeye-2023").limited_to(["pixcorr_256", "ssim_256"])
    found = {key: scores.mean() for key, scores in Scorer(seen, published, {}).score(made).items()}
    for name, key in (
        ("brain-diffuser-2023", "clip"),
        ("takagi-2023", "clip_bicubic_per_stimulus"),
        ("recommended", "clip_among_50"),
        ("recommended", "clip_among_50_per_stimulus"),
        ("mindeye-2023", "effnet_v2_256"),
    ):
        found[key] = Profile.load(name).metrics[key].compare(*features).mean()
    assert found == pytest.approx(GOLDEN, abs=2e-6)
