"""Train the bundled dual-guided diffusion UNet on composed scenes; the autoencoder and CLIP must be trained first.

python training/train_diffusion.py [--steps 4900] [--warm-start]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from loop import TRAINING_SEED, Loss, arguments_of, train
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from braindiffuser import images
from braindiffuser.datasets.simulation.scenes import compose_scenes
from braindiffuser.files import replacing
from braindiffuser.networks.checkpoint_folders import BUNDLED, hash_checkpoint
from braindiffuser.networks.checkpoints import (
    Clip,
    load_autoencoder,
    load_clip,
    load_unet,
    save_network,
)
from braindiffuser.networks.clip import mean_text_tokens, pixel_values, vision_tokens
from braindiffuser.networks.noise_schedule import SCALED_LINEAR
from braindiffuser.networks.versatile import DualGuidedUNet, VersatileConfig

CONFIG = VersatileConfig(
    in_channels=4,
    sample_size=16,
    block_out_channels=(64, 96, 128),
    attention_levels=(False, True, True),
    layers_per_block=1,
    attention_heads=4,
    vision_dim=64,
    text_dim=64,
    norm_num_groups=16,
)
BATCH = 48
POOL = 49_152  # scenes encoded once and drawn from
VISION_WEIGHT = 0.6  # the mix that the sampler uses; a fifth of the samples see another
MAX_TOKEN_NOISE = (
    0.7  # condition augmentation: predictions from a brain are noisy, so half the samples see noisy tokens
)
EARLY = 550  # four fifths of the timesteps are drawn below: diffusion from the low-level picture starts there (strength ≤ 0.5)
SNR_CAP = 5.0  # min-SNR weighting (Hang et al. 2023, arXiv 2303.09556)


@torch.inference_mode()
def encode_pool(path: Path, device: torch.device, n_scenes: int = POOL) -> dict[str, Tensor]:
    """Encode the pool of scenes, or read it back: latents' mean and std, vision tokens, mean text tokens, null tokens."""
    made_from = {"scenes": str(n_scenes)} | {
        name: hash_checkpoint(BUNDLED / "demo" / name) for name in ("autoencoder", "clip")
    }
    if path.exists():
        with safe_open(path, "pt") as file:
            if file.metadata() == made_from:
                return load_file(path)
    autoencoder, clip = load_autoencoder(BUNDLED / "demo" / "autoencoder"), load_clip(BUNDLED / "demo" / "clip")
    autoencoder.to(device)
    clip.model.to(device)
    parts: dict[str, list[Tensor]] = {"mean": [], "std": [], "vision": [], "text": []}
    for first in range(0, n_scenes, 256):
        raw, scenes = compose_scenes(min(256, n_scenes - first), TRAINING_SEED + 2, first=first)
        pictures = torch.from_numpy(images.from_uint8(raw)).to(device)
        posterior = autoencoder.encode(pictures * 2 - 1).latent_dist
        parts["mean"].append(posterior.mean)
        parts["std"].append(posterior.std)
        parts["vision"].append(vision_tokens(clip.model, pixel_values(pictures, pictures.shape[-1])))
        parts["text"].append(
            torch.stack([mean_text_tokens(clip.model, clip.tokenizer, scene.captions) for scene in scenes])
        )
    pool = {name: torch.cat(blocks).cpu() for name, blocks in parts.items()} | null_tokens(clip)
    pool["scaling_factor"] = torch.tensor(autoencoder.config.scaling_factor)
    with replacing(path) as beside:
        save_file(pool, beside, metadata=made_from)
    return pool


def null_tokens(clip: Clip) -> dict[str, Tensor]:
    """Tokens of nothing: CLIP of a mid-grey picture and of the empty caption."""
    size = clip.model.config.vision_config.image_size
    grey = torch.full((1, 3, size, size), 0.5, device=clip.model.device)
    return {
        "null_vision": vision_tokens(clip.model, pixel_values(grey, size))[0].cpu(),
        "null_text": mean_text_tokens(clip.model, clip.tokenizer, []).cpu(),
    }


def augment(tokens: Tensor, null: Tensor, spread: Tensor, dropped: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise of random size to half of the token sequences, and replace the dropped ones by the null tokens."""
    n = len(tokens)
    size = MAX_TOKEN_NOISE * torch.rand(n, 1, 1, generator=generator) * (torch.rand(n, 1, 1, generator=generator) < 0.5)
    noise = (size * torch.randn(tokens.shape, generator=generator)).to(tokens.device)
    return torch.where(dropped[:, None, None].to(tokens.device), null, tokens + noise * spread)


def loss_of(forward: Callable[..., Tensor], pool: Mapping[str, Tensor], batch: int = BATCH) -> Loss:
    """Return the loss of a batch drawn from the pool, on the device where the pool lies."""
    device, signal = pool["mean"].device, SCALED_LINEAR.alphas_cumprod.float()
    spreads = {name: pool[name].std(dim=0) for name in ("vision", "text")}

    def loss(step: int, generator: torch.Generator) -> Tensor:
        """E ‖ε − ε̂(√ᾱ z + √(1−ᾱ) ε, t, c)‖² · min(snr, cap) / snr."""
        chosen = torch.randint(len(pool["mean"]), (batch,), generator=generator).to(device)
        mean, std, vision, text = (pool[name][chosen] for name in ("mean", "std", "vision", "text"))
        latents = (mean + std * torch.randn(mean.shape, generator=generator).to(device)) * pool["scaling_factor"]
        end = torch.where(torch.rand(batch, generator=generator) < 0.8, EARLY, len(signal))
        t = (torch.rand(batch, generator=generator) * end).long()
        alpha = signal[t].view(-1, 1, 1, 1).to(device)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        chance = torch.rand(batch, generator=generator)
        without_vision, without_text = chance < 0.13, (chance < 0.10) | (chance > 0.97)
        vision = augment(vision, pool["null_vision"], spreads["vision"], without_vision, generator)
        text = augment(text, pool["null_text"], spreads["text"], without_text, generator)
        other = torch.rand(batch, generator=generator)
        weight = torch.where(torch.rand(batch, generator=generator) < 0.2, other, VISION_WEIGHT).to(device)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        with (
            torch.autocast(device.type, torch.bfloat16),
            sdpa_kernel(SDPBackend.MATH),
        ):  # the flash kernel is slow in bfloat16 on a CPU
            predicted = forward(noisy, t.to(device), vision, text, weight).float()
        ratio = alpha.flatten() / (1 - alpha.flatten())
        error = (predicted - noise).square().mean(dim=(1, 2, 3))
        value: Tensor = (error * ratio.clamp(max=SNR_CAP) / ratio).mean()
        return value

    return loss


def main() -> None:
    """Train, then write the checkpoint folder."""
    parser = arguments_of(__doc__, n_steps=4_900)
    parser.add_argument(
        "--warm-start", action="store_true", help="begin with the bundled checkpoint instead of fresh parameters"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak of the schedule (default: %(default)s)")
    parser.add_argument(
        "--compile", action="store_true", help="compile the network first: minutes, then a fifth faster"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = Path(__file__).parent / "checkpoints" / "unet"
    device = arguments.device
    pool = {name: tensor.to(device) for name, tensor in encode_pool(folder / "pool.safetensors", device).items()}
    network = DualGuidedUNet(CONFIG)
    if arguments.warm_start:
        network.load_state_dict(load_unet(BUNDLED / "demo" / "unet").state_dict())

    network.to(device)
    forward = torch.compile(network) if arguments.compile else network
    loss = loss_of(forward, pool)
    trained = train(network, loss, folder, arguments.steps, learning_rate=arguments.learning_rate, ema_decay=0.9985)
    save_network(BUNDLED / "demo" / "unet", trained, CONFIG.model_dump(mode="json"))


if __name__ == "__main__":
    main()
