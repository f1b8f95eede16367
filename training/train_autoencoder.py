"""Train the bundled KL autoencoder (64 px to 16 × 16 × 4) on composed scenes.

python training/train_autoencoder.py [--steps 4500]
python training/train_autoencoder.py --decoder-only [--steps 4500]

The second command goes on with the decoder alone: the latents stay as they are, so diffusion can be trained meanwhile.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from loop import TRAINING_SEED, Loss, arguments_of, train
from torch import Tensor
from torch.nn import functional as F

from braindiffuser import images
from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import build_autoencoder, load_autoencoder, save_network

BATCH = 16
CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "sample_size": 64,
    "block_out_channels": [16, 48, 96],
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,
}
KL_WEIGHT = 1e-5


def pyramid_error(made: Tensor, seen: Tensor) -> Tensor:
    """Σ_s ‖pool_s(made − seen)‖₁ over scales of 1, 2 and 4 pixels, plus the same of horizontal and vertical differences."""
    error = made - seen
    total = error.new_zeros(())
    for scale in (1, 2, 4):
        pooled = F.avg_pool2d(error, scale)
        total = total + pooled.abs().mean() + pooled.diff(dim=-1).abs().mean() + pooled.diff(dim=-2).abs().mean()
    return total


def loss_of(network: AutoencoderKL, device: torch.device, seed: int = TRAINING_SEED, batch: int = BATCH) -> Loss:
    """Return the loss of a batch of scenes of a seed, composed on the CPU and moved to the device."""

    def loss(step: int, generator: torch.Generator) -> Tensor:
        """Multi-scale L1 of the picture and its gradients + weight · KL(posterior ‖ standard normal)."""
        raw, _ = compose_scenes(batch, seed, first=step * batch)
        pictures = torch.from_numpy(images.from_uint8(raw)).to(device) * 2 - 1
        with torch.autocast(device.type, torch.bfloat16):
            posterior = network.encode(pictures).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
            made = network.decode((posterior.mean + posterior.std * noise).to(torch.bfloat16)).sample
        value: Tensor = pyramid_error(made.float(), pictures) + KL_WEIGHT * posterior.kl().mean()
        return value

    return loss


def main() -> None:
    """Train, measure the latents' spread, then write the checkpoint folder."""
    parser = arguments_of(__doc__, n_steps=4_500)
    parser.add_argument("--decoder-only", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bundled, folder = BUNDLED / "demo" / "autoencoder", Path(__file__).parent / "checkpoints" / "autoencoder"
    network, device = build_autoencoder(CONFIG), arguments.device
    if arguments.decoder_only:
        folder = folder.with_name("autoencoder_decoder")
        network = load_autoencoder(bundled)
        network.decoder.requires_grad_(True)
        network.post_quant_conv.requires_grad_(True)

    network.to(device)
    loss = loss_of(network, device, TRAINING_SEED + 3 * arguments.decoder_only)
    trained = train(network, loss, folder, arguments.steps, learning_rate=1e-3)
    raw, _ = compose_scenes(256, TRAINING_SEED + 1)
    with torch.inference_mode():
        latents = trained.encode(torch.from_numpy(images.from_uint8(raw)) * 2 - 1).latent_dist.mean
    config = CONFIG | {"scaling_factor": round(1 / float(latents.std()), 5)}
    if arguments.decoder_only:
        config = json.loads((bundled / "config.json").read_text(encoding="utf-8"))
    save_network(bundled, trained, config)


if __name__ == "__main__":
    main()
