"""Measure the bundled networks on scenes they never saw, and write their model cards.

python training/cards.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from loop import TRAINING_SEED
from train_diffusion import null_tokens

from braindiffuser import images
from braindiffuser.datasets.simulation.scenes import Scene, Split, compose_scenes
from braindiffuser.generators.diffusion import DiffusionNetworks, Embeddings, reconstruct
from braindiffuser.generators.settings import DiffusionConfig
from braindiffuser.metrics.pixcorr import pixcorr
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import load_autoencoder, load_clip, load_unet, load_vdvae
from braindiffuser.networks.clip import image_embedding, mean_text_tokens, pixel_values, tokenize, vision_tokens
from braindiffuser.networks.logistic_mixture import mixture_nll

DEMO = BUNDLED / "demo"
N_SCENES = 200
N_UNET_SCENES = 64  # sampling is slow
SPLITS: tuple[Split, ...] = ("training", "held_out")
Numbers = dict[str, float]


def scenes(split: Split) -> tuple[np.ndarray, list[Scene]]:
    """Scenes of a seed that no training run uses, as pictures (n, 3, 64, 64)."""
    raw, shown = compose_scenes(N_SCENES, TRAINING_SEED + 9, split=split)
    return images.from_uint8(raw), shown


def measure_vdvae(split: Split) -> Numbers:
    """−ELBO in nats per dimension, with posterior samples."""
    network = load_vdvae(DEMO / "vdvae")
    pictures = torch.nn.functional.interpolate(
        torch.from_numpy(scenes(split)[0]), (16, 16), mode="bilinear", antialias=True
    ).clamp(0, 1)
    layers, features = network.infer(pictures, torch.Generator().manual_seed(0))
    assert features is not None
    error = float(mixture_nll(pictures, network.distribution(features)).mean())
    divergence = float(sum(layer.kl.sum() for layer in layers)) / pictures.numel()
    return {"-ELBO, nats per dimension": error + divergence, "of which KL": divergence}


def measure_clip(split: Split) -> Numbers:
    """How often a picture's own caption is the most similar of all, and of two."""
    clip = load_clip(DEMO / "clip")
    pictures, shown = scenes(split)
    pixels = pixel_values(torch.from_numpy(pictures), 64)
    ids = tokenize(clip.model, clip.tokenizer, [scene.captions[3] for scene in shown])
    text = clip.model.text_projection(clip.model.text_model(input_ids=ids).pooler_output)
    vision = image_embedding(clip.model, pixels)
    similarity = torch.nn.functional.normalize(vision, dim=1) @ torch.nn.functional.normalize(text, dim=1).T
    own = similarity.diagonal()[:, None]
    return {
        f"caption first of {N_SCENES}": float((similarity.argmax(dim=1) == torch.arange(N_SCENES)).float().mean()),
        "caption first of 2": float((similarity < own).float().sum(dim=1).mean() / (N_SCENES - 1)),
    }


def measure_autoencoder(split: Split) -> Numbers:
    """Reconstruction from the posterior's mean."""
    network = load_autoencoder(DEMO / "autoencoder")
    pictures, _ = scenes(split)
    made = network.decode(network.encode(torch.from_numpy(pictures) * 2 - 1).latent_dist.mean).sample
    made = ((made + 1) / 2).clamp(0, 1).numpy()
    mse = np.square(made - pictures).mean(axis=(1, 2, 3))
    return {"PSNR, dB": float(-10 * np.log10(mse).mean()), "PixCorr": float(pixcorr(pictures, made).mean())}


def measure_unet(split: Split) -> Numbers:
    """PixCorr of pictures made from true tokens alone (pure noise, 50 steps, guidance 3)."""
    clip = load_clip(DEMO / "clip")
    networks = DiffusionNetworks(load_unet(DEMO / "unet"), load_autoencoder(DEMO / "autoencoder"))
    pictures, shown = scenes(split)
    pictures, shown = pictures[:N_UNET_SCENES], shown[:N_UNET_SCENES]
    text = torch.stack([mean_text_tokens(clip.model, clip.tokenizer, scene.captions) for scene in shown])
    vision = vision_tokens(clip.model, pixel_values(torch.from_numpy(pictures), 64))
    null = null_tokens(clip)
    nothing = Embeddings(null["null_vision"][None].numpy(), null["null_text"][None].numpy())
    config, made = DiffusionConfig(guidance_scale=3.0), []
    for start in range(0, len(shown), 32):
        rows = slice(start, start + 32)
        tokens = Embeddings(vision[rows].numpy(), text[rows].numpy())
        made.append(reconstruct(networks, None, tokens, nothing, np.arange(len(shown))[rows], config))
    return {"PixCorr from tokens alone": float(pixcorr(pictures, np.concatenate(made)).mean())}


class Card(NamedTuple):
    """What a card says of a network besides its numbers; how the bundled checkpoints came about is written down here."""

    purpose: str
    recipe: str
    measure: Callable[[Split], Numbers]


CARDS = {
    "vdvae": Card(
        "Very Deep VAE of 16 px pictures: the low-level stage.",
        "`training/train_vdvae.py`, 3,000 steps of 32 scenes, on a CPU.",
        measure_vdvae,
    ),
    "clip": Card(
        "CLIP of 64 px pictures and their captions: the decoders' targets.",
        "`training/train_clip.py`, 1,100 steps of 192 scenes, on a CPU.",
        measure_clip,
    ),
    "autoencoder": Card(
        "KL autoencoder, 64 px to 16 × 16 × 4: the space that diffusion runs in.",
        "`training/train_autoencoder.py`, 4,500 steps of 16 scenes, on a CPU. Then `--decoder-only --steps 2400`: the decoder "
        "alone.",
        measure_autoencoder,
    ),
    "unet": Card(
        "Dual-guided diffusion UNet over the autoencoder's latents.",
        "`training/train_diffusion.py`, 4,900 steps of 48 scenes of a pool of 24,576 at all noise levels, learning rate "
        "restarted twice, on a CPU. Then `--warm-start --learning-rate 7e-4 --steps 9600`, from a pool of 49,152 scenes.",
        measure_unet,
    ),
}


@torch.inference_mode()
def main() -> None:
    """Write `card.md` beside every bundled checkpoint."""
    for name, card in CARDS.items():
        folder = DEMO / name
        numbers = {split: card.measure(split) for split in SPLITS}
        size = (folder / "model.safetensors").stat().st_size / 1e6
        n_parameters = _count(folder)
        rows = [
            f"| {key} | {numbers['training'][key]:.3f} | {numbers['held_out'][key]:.3f} |"
            for key in numbers["training"]
        ]
        n_scenes = N_UNET_SCENES if name == "unet" else N_SCENES
        text = f"""# {name} (demo)

{card.purpose} {n_parameters / 1e6:.1f} M parameters, float16, {size:.1f} MB. Licence: MIT, as the code.

- **Data**: scenes composed from the scene kit (`braindiffuser.datasets.simulation`, each photograph under its own licence),
  seed {TRAINING_SEED}; the objects and backgrounds of the held-out list were never shown.
- **Recipe**: {card.recipe}
- **Use**: the demonstration and tests. It knows about 140 objects and 45 places; it is no model of natural images.

| measured on {n_scenes} new scenes of | photographs seen in training | held-out photographs |
|---|---|---|
{chr(10).join(rows)}
"""
        (folder / "card.md").write_text(text, encoding="utf-8")
        print(json.dumps({name: numbers}))


def _count(folder: Path) -> int:
    loaders: dict[str, Callable[[Path], torch.nn.Module]] = {
        "vdvae": load_vdvae,
        "clip": lambda path: load_clip(path).model,
        "autoencoder": load_autoencoder,
        "unet": load_unet,
    }
    return sum(parameter.numel() for parameter in loaders[folder.name](folder).parameters())


if __name__ == "__main__":
    main()
