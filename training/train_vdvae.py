"""Train the bundled VDVAE (16 px) on composed scenes.

python training/train_vdvae.py [--steps 3000]
"""

from __future__ import annotations

from pathlib import Path

import torch
from loop import TRAINING_SEED, Loss, arguments_of, train
from torch import Tensor

from braindiffuser import images
from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import save_network
from braindiffuser.networks.logistic_mixture import mixture_nll
from braindiffuser.networks.vdvae import VDVAE, VDVAEConfig

CONFIG = VDVAEConfig(
    image_size=16,
    width=128,
    zdim=16,
    enc_blocks="16x3,16d2,8x3,8d2,4x3,4d4,1x2",
    dec_blocks="1x1,4m1,4x2,8m4,8x4,16m8,16x4",
)
BATCH = 32


def loss_of(network: VDVAE, device: torch.device, batch: int = BATCH) -> Loss:
    """Return the loss of a batch of scenes, composed on the CPU and moved to the device."""

    def loss(step: int, generator: torch.Generator) -> Tensor:
        """−ELBO in nats per dimension: reconstruction + Σ KL / (3 · 16 · 16)."""
        raw, _ = compose_scenes(batch, TRAINING_SEED, first=step * batch)
        pictures = torch.nn.functional.interpolate(
            torch.from_numpy(images.from_uint8(raw)).to(device), (16, 16), mode="bilinear", antialias=True
        ).clamp(0, 1)
        layers, features = network.infer(pictures, generator)
        assert features is not None
        reconstruction = mixture_nll(pictures, network.distribution(features)).mean()
        divergence = torch.stack([layer.kl.sum() for layer in layers]).sum() / pictures.numel()
        return reconstruction + divergence

    return loss


def main() -> None:
    """Train, then write the checkpoint folder."""
    arguments = arguments_of(__doc__, n_steps=3_000).parse_args()
    torch.set_num_threads(arguments.threads)
    network = CONFIG.build().to(arguments.device)
    loss = loss_of(network, arguments.device)
    folder = Path(__file__).parent / "checkpoints" / "vdvae"
    trained = train(network, loss, folder, arguments.steps, learning_rate=1e-3, max_gradient=5.0)
    save_network(BUNDLED / "demo" / "vdvae", trained, CONFIG.model_dump(exclude_defaults=True))


if __name__ == "__main__":
    main()
