"""Steps of the training scripts of the bundled networks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from timed_parts import Result, in_one_line
from torch import Tensor, nn

from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import build_autoencoder, build_clip, load_clip
from braindiffuser.networks.versatile import DualGuidedUNet
from gpu_parts.setting import Setting, measured

sys.path.append(str(Path(__file__).parents[2] / "training"))
import train_autoencoder
import train_clip
import train_diffusion
import train_vdvae
from loop import Loss, train

DEMO = BUNDLED / "demo"


class Trained(NamedTuple):
    """A fresh network and its loss."""

    network: nn.Module
    loss: Loss


N_TRAINING_STEPS = 4


@measured
def training(setting: Setting, _: float) -> Iterator[Result]:
    """Take steps of each training script in a folder of its own, save, and go on from what was saved."""
    for name, make in TRAINED.items():
        try:
            yield training_steps(name, make, setting)
        except Exception as error:  # the other networks go on
            yield {f"{name}_failed": in_one_line(error)}


def training_steps(name: str, make: Callable[[Setting, torch.device], Trained], setting: Setting) -> Result:
    """Time the steps after the first, and compare the first loss with that on the CPU, of the same weights and scenes."""
    stamps: list[float] = []
    losses: list[float] = []
    begun: list[int] = []

    def fresh(device: str) -> Trained:
        torch.manual_seed(0)
        return make(setting, torch.device(device))

    def steps(until: int) -> None:
        network, loss = fresh(setting.device)

        def stamped(step: int, generator: torch.Generator) -> Tensor:
            setting.synchronise()
            stamps.append(time.perf_counter())
            value = loss(step, generator)
            begun.append(step)
            losses.append(float(value.detach()))
            return value

        train(network, stamped, setting.folder / "training" / name, until, learning_rate=1e-3)

    steps(N_TRAINING_STEPS)
    steps(N_TRAINING_STEPS + 1)
    with torch.no_grad():
        on_cpu = float(fresh("cpu").loss(0, torch.Generator().manual_seed(0)))
    return {
        f"{name}_seconds_a_step": (stamps[N_TRAINING_STEPS - 1] - stamps[1]) / (N_TRAINING_STEPS - 2),
        f"{name}_first_loss": losses[0],
        f"{name}_first_loss_less_that_on_cpu": losses[0] - on_cpu,
        f"{name}_losses_are_finite": bool(np.isfinite(losses).all()),
        f"{name}_resumed": begun == list(range(N_TRAINING_STEPS + 1)),
    }


def make_vdvae(setting: Setting, device: torch.device) -> Trained:
    """Make the VDVAE of 16 pixels."""
    network = train_vdvae.CONFIG.build().to(device)
    return Trained(network, train_vdvae.loss_of(network, device, setting.sizes.training_batch or train_vdvae.BATCH))


def make_clip(setting: Setting, device: torch.device) -> Trained:
    """Make CLIP, with the tokenizer that is bundled."""
    tokenizer = load_clip(DEMO / "clip").tokenizer
    network = build_clip(train_clip.clip_config(tokenizer.get_vocab_size())).to(device)
    batch = setting.sizes.training_batch or train_clip.BATCH
    return Trained(network, train_clip.loss_of(network, tokenizer, device, batch))


def make_autoencoder(setting: Setting, device: torch.device) -> Trained:
    """Make the autoencoder."""
    network = build_autoencoder(train_autoencoder.CONFIG).to(device)
    batch = setting.sizes.training_batch or train_autoencoder.BATCH
    return Trained(network, train_autoencoder.loss_of(network, device, batch=batch))


def make_unet(setting: Setting, device: torch.device) -> Trained:
    """Make the UNet, and encode some scenes that it draws from."""
    path = setting.folder / "training" / "pool.safetensors"
    pool = train_diffusion.encode_pool(path, torch.device(setting.device), setting.sizes.n_pool)
    network = DualGuidedUNet(train_diffusion.CONFIG).to(device)
    batch = setting.sizes.training_batch or train_diffusion.BATCH
    return Trained(network, train_diffusion.loss_of(network, {k: v.to(device) for k, v in pool.items()}, batch))


TRAINED = {"vdvae": make_vdvae, "clip": make_clip, "autoencoder": make_autoencoder, "unet": make_unet}
