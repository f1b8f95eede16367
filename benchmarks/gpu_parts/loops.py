"""Seconds a picture of the diffusion loop: plain, with channels in the last place in memory, and compiled."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import torch
from timed_parts import Result, in_one_line
from torch import Tensor, nn

from braindiffuser.batches import lacks_memory
from braindiffuser.networks.noise_schedule import SCALED_LINEAR
from braindiffuser.networks.samplers import add_noise, image_to_image_timesteps, sample
from gpu_parts.setting import (
    Setting,
    denoiser,
    guided_step,
    measured,
    random_latents,
    random_unet,
    relative_difference,
    seconds,
)


@measured
def loop(setting: Setting, ends_at: float) -> Iterator[Result]:
    """Time the loop of the published Brain-Diffuser, in the precision of its preset."""
    yield {"precision": str(setting.half).removeprefix("torch.")}
    yield from seconds_by_batch(random_unet(setting, setting.half), setting, ends_at)


@measured
def channels_last(setting: Setting, ends_at: float) -> Iterator[Result]:
    """Time the same with channels in the last place in memory."""
    unet = random_unet(setting, setting.half)
    plain = guided_step(unet, setting)
    unet.to(memory_format=torch.channels_last)
    yield {"step_relative_difference": relative_difference(guided_step(unet, setting), plain)}
    yield from seconds_by_batch(unet, setting, ends_at)


class CompiledUNet(nn.Module):
    """The UNet compiled once for batches of any size."""

    def __init__(self, unet: nn.Module, backend: str) -> None:
        """Take a UNet and the name of torch.compile's backend."""
        super().__init__()
        self.unet, self.compiled = unet, torch.compile(unet, backend=backend)

    def forward(self, *inputs: Any) -> Any:
        """Predict noise."""
        for values in inputs:
            if isinstance(values, Tensor):
                torch._dynamo.maybe_mark_dynamic(values, 0)
        return self.compiled(*inputs)


@measured
def compiled(setting: Setting, ends_at: float) -> Iterator[Result]:
    """Time the same by torch.compile; at small size the graph is traced and not compiled, which takes a minute on a CPU."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(setting.folder / "compiled")  # or a second run would find it compiled
    unet, backend = random_unet(setting, setting.half), "eager" if setting.small else "inductor"
    plain, fast = guided_step(unet, setting), CompiledUNet(unet, backend)
    first = seconds(setting, lambda: guided_step(fast, setting))
    yield {"backend": backend, "seconds_to_compile": round(first, 1)}
    yield {"step_relative_difference": relative_difference(guided_step(fast, setting), plain)}
    yield from seconds_by_batch(fast, setting, ends_at)


def seconds_by_batch(unet: nn.Module, setting: Setting, ends_at: float) -> Iterator[Result]:
    """Time the loop at each batch size; larger ones are left out where memory ends."""
    batches = setting.sizes.batches
    for number, batch in enumerate(batches):
        allowed = (ends_at - time.monotonic()) / (len(batches) - number)
        try:
            yield timed_loop(unet, setting, batch, allowed)
        except Exception as error:
            if not lacks_memory(error):
                raise
            yield {f"batch_{batch}": f"does not fit: {in_one_line(error)}"}
            return


def timed_loop(unet: nn.Module, setting: Setting, batch: int, allowed_s: float) -> Result:
    """Time as many steps of the loop as half of the seconds hold, at most all, and continue them in a straight line."""
    denoise, (latents, noise) = denoiser(unet, setting, batch), random_latents(setting, batch)
    noised_at, timesteps = image_to_image_timesteps(setting.sizes.n_steps, 0.75, "as-published")
    x = add_noise(latents, noise, noised_at, schedule=SCALED_LINEAR)
    sample(denoise, x, timesteps[:1])
    one_step = seconds(setting, lambda: sample(denoise, x, timesteps[:1]))
    n = max(1, min(len(timesteps), int(allowed_s / 2 / one_step)))
    found = seconds(setting, lambda: sample(denoise, x, timesteps[:n])) / n * len(timesteps) / batch
    return {f"seconds_a_picture_batch_{batch}": found, f"steps_timed_batch_{batch}": f"{n} of {len(timesteps)}"}
