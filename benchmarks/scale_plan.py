"""What the published Brain-Diffuser needs of larger recordings: exact bytes and operations, and minutes by stated speeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from braindiffuser.experiment import Experiment
from braindiffuser.generators.diffusion import guided_denoiser
from braindiffuser.networks.checkpoints import build_autoencoder, build_clip
from braindiffuser.networks.clip import VIT_L14
from braindiffuser.networks.convert import KL_F8, VERSATILE
from braindiffuser.networks.vdvae import IMAGENET64
from braindiffuser.networks.versatile import DualGuidedUNet
from braindiffuser.stages.reconstruct import picture_kinds

GB, TERA, MINUTE = 1e9, 1e12, 60.0
WIDTHS = {"latents": 91_168, "vision": 257 * 768, "text": 77 * 768}
BYTES = {"float16": 2, "float32": 4}
BLOCK, COLUMNS, N_FOLDS, N_PREDICTED = 4096, 4096, 5, 2000
SMOOTHERS = 5.3
"""Smoother matrices of a fold that are there at once for three alphas, with copies, as measured."""
PNG_MB = 0.45
"""Of a picture of 512 pixels; noise compresses badly, plain areas well."""
CPU_TERA = 0.24
"""Operations a second in float32 that a product of `benchmarks/ridge.py` reached on two cores, in 10¹²."""
CARD_TERA = {"reconstruct": 247.0, "extract": 50.0}
"""Operations a second on a card, in 10¹²: of the loop in half precision, as one H200 drew 16 pictures at a time (0.36 seconds a
picture); of extraction in float32 assumed."""
NETWORK_GB = 0.1
"""Read from another machine in a second: a line of one gigabit."""


class Case(NamedTuple):
    """A recording, of which all people have about as much.

    Attributes:
        name: in the table.
        people: number of them.
        n_train: training pictures of each.
        n_test: test pictures of each.
        n_trials: of each.
        n_voxels: that decoders are fitted to.
        trial_mb: size of a trial's betas as they are downloaded.
        sessions: of each.
    """

    name: str
    people: int
    n_train: int
    n_test: int
    n_trials: int
    n_voxels: int
    trial_mb: float
    sessions: int
    repeats: bool
    """Whether pictures were shown again, so that there is a noise ceiling, whose sums are as large as those of responses."""


CASES = (
    Case("NSD, 8 people", 8, 9000, 1000, 30_000, 15_724, 1.4, 40, True),
    Case("LAION-fMRI, 5 people", 5, 4666, 1167, 31_856, 15_724, 0.94, 30, True),
    Case("100 people, 100,000 pictures each", 100, 100_000, 1000, 103_000, 15_724, 1.4, 137, False),
)


@cache
def operations() -> dict[str, float]:
    """Count multiplications and additions of each published network, for one picture, in 10¹²."""
    torch.set_grad_enabled(False)
    with torch.device("meta"):
        vdvae = IMAGENET64.build().eval().requires_grad_(False)
        clip = build_clip(dict(VIT_L14)).eval().requires_grad_(False)
        autoencoder = build_autoencoder(dict(KL_F8)).eval().requires_grad_(False)
        unet = DualGuidedUNet(VERSATILE).eval().requires_grad_(False)
        picture, latents = torch.rand(1, 3, 64, 64), torch.randn(1, 4, 64, 64)
        tokens = torch.randn(1, 257, 768), torch.randn(1, 77, 768)
        given = [layer.z for layer in vdvae.infer(picture, None, 31)[0]]
        denoise = guided_denoiser(unet, tokens, tokens, 7.5, 0.6)
        words = torch.ones(1, 77, dtype=torch.long)
        return {
            "latents": _counted(lambda: vdvae.infer(picture, None, 31)),
            "vision": _counted(lambda: clip.vision_model(torch.rand(1, 3, 224, 224))),
            "text": 5 * _counted(lambda: clip.text_model(words)),  # captions of a picture
            "low_level": _counted(lambda: vdvae.generate(given, None)),
            "step": _counted(lambda: denoise(latents, 721)),
            "encode": _counted(lambda: autoencoder.encode(torch.randn(1, 3, 512, 512))),
            "decode": _counted(lambda: autoencoder.decode(latents)),
        }


def _counted(run: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / TERA


def disk(case: Case, experiment: Experiment) -> dict[str, float]:
    """Return what lies on the disk for one person, in GB."""
    stored = sum(width * BYTES[experiment.targets[group].stored_as] for group, width in WIDTHS.items())
    kinds = len(picture_kinds(experiment))
    return {
        "betas, downloaded": case.n_trials * case.trial_mb / 1000,
        "responses and their sums": (2 + case.repeats) * (case.n_train + case.n_test) * case.n_voxels * 4 / GB,
        "targets of training": case.n_train * stored / GB,
        "true and decoded features of test": case.n_test * 2 * sum(WIDTHS.values()) * 4 / GB,
        f"pictures of {kinds} kinds": kinds * case.n_test * PNG_MB / 1000,
    }


def network(case: Case, experiment: Experiment) -> dict[str, float]:
    """Return what passes a network for one person, in GB, where the run's folder lies on another machine's disk."""
    lies = disk(case, experiment)
    targets = lies["targets of training"]
    responses = case.n_train * case.n_voxels * 4 / GB
    return {
        "betas, downloaded and read once": 2 * lies["betas, downloaded"],
        "responses, read 30 times in cross-validation": 30 * responses if case.n_train > case.n_voxels else responses,
        "targets, written and read once": 2 * targets,
        f"targets, read for {N_FOLDS} folds": N_FOLDS * targets,
    }


def memory(case: Case, cores: int = 2) -> dict[str, float]:
    """Return what stages hold at once for one person, in GB, beside about 0.6 of Python and libraries."""
    n, v, session = case.n_train, case.n_voxels, case.n_trials / case.sessions
    widest = max(WIDTHS.values())
    rank = min(n, v)
    rows = n * v if n <= v else 2 * BLOCK * v
    blocks = min(cores + 1, max(2, int(4 * 2**30 // (n * COLUMNS * 4)))) * n * COLUMNS
    predicted = case.n_test * (n + 2 * widest)
    smoothers = {n_predicted: SMOOTHERS * n_predicted / N_FOLDS * 0.8 * n for n_predicted in (n, N_PREDICTED)}
    return {
        "prepare": 4 * ((1 + case.repeats) * (n + case.n_test) * v + 3 * session * v) / GB,
        "fit, transductive": 4 * max(rows + 3 * rank**2, blocks + predicted) / GB,
        **{
            f"fit, inductive, {'all' if n_predicted == n else f'{n_predicted:,}'} predicted": 4
            * max(rows + 3 * rank**2 + own, 2 * blocks + own)
            / GB
            for n_predicted, own in smoothers.items()
        },
    }


def work(case: Case, experiment: Experiment) -> dict[str, float]:
    """Return the operations of one person's run, in 10¹²."""
    each, n, v = operations(), case.n_train, case.n_voxels
    rank, width = min(n, v), sum(WIDTHS.values())
    n_alphas = 3
    gram = n * v * rank + n_alphas * (rank**3 / 3 + 2 * rank**2 * case.n_test)
    of_fold = min(0.8 * n, v)
    factors = N_FOLDS * (0.8 * n * v * of_fold + n_alphas * of_fold**3 / 3)

    def left_out(m: float) -> float:
        solved = n_alphas * 2 * of_fold**2 + 2 * 0.8 * n * v * (n_alphas if n > v else 1)
        return factors + m * (solved + 2 * 0.8 * n * width)

    diffusion, drawn = experiment.generator.model_dump()["diffusion"], 0.0
    n_steps = int(diffusion["n_steps"] * diffusion["strength"])
    for facts in picture_kinds(experiment).values():
        needs_unet = "unet" in experiment.generator.checkpoints_of(facts.variant)
        drawn += n_steps * each["step"] + each["encode"] + each["decode"] if needs_unet else each["low_level"]
    return {
        "extract": (n + case.n_test) * (each["latents"] + each["vision"] + each["text"]),
        "fit and decode, transductive": (gram + 2 * case.n_test * n * width) / TERA,
        "inductive calibration, all predicted": left_out(n) / TERA,
        f"inductive calibration, {N_PREDICTED:,} predicted": left_out(N_PREDICTED) / TERA,
        "reconstruct": case.n_test * drawn,
    }


def tables() -> str:
    """Return the tables of the page, in Markdown."""
    experiment = Experiment.load("brain-diffuser")
    heads = " | ".join(case.name for case in CASES)
    line = "---|" + "---:|" * len(CASES)
    each = operations()
    text = ["Operations a picture, 10¹²: " + ", ".join(f"{name} {value:.3g}" for name, value in each.items()), ""]
    of_disk, of_memory = [disk(case, experiment) for case in CASES], [memory(case) for case in CASES]
    text += [f"| one person, GB on disk | {heads} |", f"|{line}"]
    text += [_row(name, [own[name] for own in of_disk]) for name in of_disk[0]]
    text += [_row("all people", [case.people * sum(own.values()) for case, own in zip(CASES, of_disk, strict=True)])]
    text += ["", f"| one person, GB in memory | {heads} |", f"|{line}"]
    text += [_row(name, [own[name] for own in of_memory]) for name in of_memory[0]]
    of_work = [work(case, experiment) for case in CASES]
    text += ["", f"| one person, minutes | {heads} |", f"|{line}"]
    for name in of_work[0]:
        speed, where = CARD_TERA.get(name, CPU_TERA), "card" if name in CARD_TERA else "two cores"
        text.append(_row(f"{name} ({where})", [own[name] / speed / MINUTE for own in of_work]))
    of_network = [network(case, experiment) for case in CASES]
    for name in of_network[0]:
        text.append(_row(f"{name} (1 gigabit)", [own[name] / NETWORK_GB / MINUTE for own in of_network]))
    return "\n".join(text)


def _row(name: str, values: list[float]) -> str:
    return f"| {name} | {' | '.join(f'{value:,.2g}' if value < 10 else f'{value:,.0f}' for value in values)} |"
