"""Commands of shared decoders: make one of a finished run, decode responses with one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from braindiffuser.cli.app import ONE_RUN, app
from braindiffuser.cli.endings import stoppable
from braindiffuser.cli.options import With, expanded
from braindiffuser.cli.screen import fail, print_out, progress_on_screen, say
from braindiffuser.extensions import import_modules
from braindiffuser.report.numbers import counted

if TYPE_CHECKING:
    from braindiffuser.sharing.response_files import ResponsesFile
    from braindiffuser.sharing.shared_decoder import SharedDecoder

HUB = "hub:"


@app.command(
    rich_help_panel=ONE_RUN,
    epilog="Example: **braindiffuser share runs/mine shared/mine**; "
    "**braindiffuser share runs/mine shared/mine --lost 0.001 --max-rank 2000 --precision float32** keeps more; then "
    "**braindiffuser decode shared/mine responses.npz --out features.npz**",
)
def share(
    run: Annotated[Path, typer.Argument(callback=expanded, help="Folder of a finished run; it is not changed.")],
    out: Annotated[
        Path,
        typer.Argument(
            callback=expanded, help="New folder to write to; one that holds anything but the same decoder is refused."
        ),
    ],
    lost: Annotated[
        float,
        typer.Option(
            "--lost",
            min=0,
            max=0.99,
            help="Share of the variance of training predictions that may be lost, in units of each target's spread; 0: none, the "
            "full rank.",
        ),
    ] = 0.01,
    max_rank: Annotated[
        int, typer.Option("--max-rank", min=1, help="Largest rank of a target group, whatever is lost.")
    ] = 500,
    precision: Annotated[
        Literal["float16", "float32"], typer.Option("--precision", help="In which large arrays are stored.")
    ] = "float16",
    licence: Annotated[
        str,
        typer.Option(
            "--licence", help="Licence to share it under, for the card, as model hubs name it, such as cc-by-4.0."
        ),
    ] = "unknown",
    modules: With = None,
) -> None:
    """Write a run's decoders at reduced rank, with a card, without training responses: one file that others can decode with."""
    from braindiffuser.sharing.card import group_sentences
    from braindiffuser.sharing.making import share_run

    import_modules(modules)
    with stoppable("nothing was written; the same command begins again"), progress_on_screen() as progress:
        started = time.monotonic()
        decoder, remarks = share_run(
            run, out, lost=lost, max_rank=max_rank, precision=precision, licence=licence, progress=progress
        )
        seconds = time.monotonic() - started
    for group, own in decoder.facts.groups.items():
        print_out("\n".join(group_sentences(group, own)))
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    say(*remarks)
    print_out(f"{out} holds the decoder and its card, {size:,.1f} MB, made in {seconds:.0f} s")


@app.command(
    rich_help_panel=ONE_RUN,
    epilog="Example: **braindiffuser decode shared/mine responses.npz --out features.npz**; "
    "**braindiffuser decode hub:owner/name responses.npy --out features.npz --trial-by-trial** says how long a trial takes; "
    "**braindiffuser decode shared/mine responses.npz --out features.npz --pictures pictures/** draws too",
)
def decode(
    decoder: Annotated[str, typer.Argument(help="A shared decoder: its folder or file, or hub:OWNER/NAME.")],
    responses: Annotated[
        Path,
        typer.Argument(
            callback=expanded, help="Responses to decode: .npz as `export` writes it, or .npy (trials × voxels)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", callback=expanded, help="New .npz file of decoded features.")],
    trial_by_trial: Annotated[
        bool, typer.Option("--trial-by-trial", help="Decode one row after the other, and say how long each takes.")
    ] = False,
    any_size: Annotated[
        bool,
        typer.Option("--any-size", help="Decode responses that are far larger or smaller than the training responses."),
    ] = False,
    betas: Annotated[
        bool,
        typer.Option(
            "--betas",
            help="The file holds betas in the unit of the recording: normalise them as the training responses were.",
        ),
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", callback=expanded, help="Also draw a picture of each row into this new folder."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit of a decoder on the hub.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="Where networks draw pictures: cpu, cuda, cuda:1 and so on.")
    ] = "cpu",
    modules: With = None,
) -> None:
    """Decode features from new responses with a shared decoder, one trial at a time if asked, and draw pictures if asked."""
    from braindiffuser.sharing.response_files import check_new, read_responses, write_features

    import_modules(modules)
    if pictures is None:
        check_new(out)
    else:
        drawn, decoded = pictures.resolve(), out.resolve()
        if drawn == decoded or drawn in decoded.parents or decoded in drawn.parents:
            fail(f"--pictures {pictures} and --out {out} overlap: name another folder")
    with (
        stoppable("features that were written stay; the same command begins the rest again"),
        progress_on_screen() as progress,
    ):
        opened = _opened(decoder, revision)
        given = read_responses(responses)
        if pictures is not None:
            from braindiffuser.sharing.drawing import check_new_folder, generator_of

            check_new_folder(pictures)
            generator_of(opened.facts)
        if betas:
            given = given._replace(responses=opened.responses_of(given.responses, given.fingerprint))
        features = _decoded(opened, given, any_size, trial_by_trial)
        write_features(out, features, given.names)
        shapes = ", ".join(f"{group} {values.shape}" for group, values in features.items())
        print_out(f"{out} holds {shapes}")
        if pictures is not None:
            from braindiffuser.sharing.drawing import draw_pictures

            started = time.monotonic()
            n = draw_pictures(opened, features, pictures, _ids(given), device, progress)
            seconds = time.monotonic() - started
            print_out(f"{pictures} holds {counted(n, 'picture')}, {seconds / n:.2g} s each, with loading of networks")


def _opened(decoder: str, revision: str | None) -> SharedDecoder:
    from braindiffuser.sharing.shared_decoder import SharedDecoder

    if decoder == HUB:
        fail("hub: names no repository: write hub:OWNER/NAME")
    if decoder.startswith(HUB):
        return SharedDecoder.from_hub(decoder.removeprefix(HUB), revision=revision)
    if revision is not None:
        fail("--revision is of decoders on the hub: name one as hub:OWNER/NAME, or leave the option out")
    return SharedDecoder.load(expanded(Path(decoder)))


def _decoded(
    decoder: SharedDecoder, given: ResponsesFile, any_size: bool, trial_by_trial: bool
) -> Mapping[str, np.ndarray]:
    """Decode all rows together, or each for itself, and print how long one took."""
    whole = decoder.decode(
        given.responses, fingerprint=given.fingerprint, any_size=any_size
    )  # refuses before it is timed
    if not trial_by_trial:
        return whole
    made, seconds = [], []
    for row in range(len(given.responses)):
        started = time.perf_counter()
        made.append(decoder.decode(given.responses[row : row + 1], any_size=True))
        seconds.append(time.perf_counter() - started)
    middle, slowest = 1e3 * float(np.median(seconds)), 1e3 * max(seconds)
    print_out(
        f"{counted(len(seconds), 'trial')} one by one: {middle:.2g} ms a trial (median; slowest {slowest:.2g} ms), all groups"
    )
    return {group: np.concatenate([each[group] for each in made]) for group in whole}


def _ids(given: ResponsesFile) -> np.ndarray | None:
    """Return the stimulus of each row, if the file says it by numbers that can fix noise."""
    ids = given.names.get("stimulus_id")
    return ids if ids is not None and ids.dtype.kind in "iu" and (ids >= 0).all() else None
