"""Training responses and targets → decoders → predictions for the test responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.real_numbers import real_numbers
from braindiffuser.stages import Item, Made, Stage, StageContext, Step
from braindiffuser.stages.extract import STAGE as EXTRACT
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Results
from braindiffuser.targets.target import Features

if TYPE_CHECKING:
    from braindiffuser.regression.fitted_decoder import FittedDecoder
    from braindiffuser.regression.parts import PartOfFit
    from braindiffuser.regression.rows import TargetArray, TrainingRows


def training_rows(experiment: Experiment, results: Results) -> TrainingRows:
    """Read the responses that decoders are fitted to, and which stimulus each belongs to."""
    from braindiffuser.regression.rows import TrainingRows

    if experiment.responses.rows == "trials":
        stimuli = results.read_array("responses/stimulus_of_trial")
        return TrainingRows(results.open_array("responses/trials"), stimuli)
    weights = None
    if experiment.regression.weighs_repeats:
        weights = results.read_array("responses/n_repeats_train").astype(np.float64)
    return TrainingRows(results.open_array("responses/train"), weights=weights)


def read_decoder(results: Results, group: str) -> FittedDecoder:
    """Read the stored decoder of one group."""
    from braindiffuser.regression.fitted_decoder import load_decoder

    return load_decoder(results.path(decoder_name(group)), _header(results, group))


def _header(results: Results, group: str) -> dict[str, str]:
    """Return what a decoder's file says it was fitted to."""
    return {"group": group, "fingerprint": str(results.read_json("voxels.json")["fingerprint"])}


def decoder_name(group: str) -> str:
    """Name of the file of one group's decoder."""
    return f"decoders/{group}.safetensors"


def _compute(context: StageContext, drafts: Mapping[str, Draft]) -> Iterator[str]:
    """Fit all groups that are missing at once, since they share the products of their training responses."""
    from braindiffuser.regression.fitted_decoder import FittedDecoder, load_decoder, save_decoder

    experiment, results = context.experiment, context.results
    rows = training_rows(experiment, results)
    targets = _targets(context, drafts)
    missing = {group: targets[group] for group, draft in drafts.items() if not draft.holds(decoder_name(group))}
    if missing:
        for group, found in _fitted(context, rows, missing).items():
            if not isinstance(found, FittedDecoder):
                raise RunError(
                    f"{experiment.regression.kind} fitted {group} as {type(found).__name__}, expected a FittedDecoder"
                )
            try:
                save_decoder(drafts[group].folder / decoder_name(group), found, _header(results, group))
            except ValueError as error:
                raise RunError(
                    f"{experiment.regression.kind} fitted {group}, but it cannot be stored: {error}"
                ) from error
            drafts[group].note([decoder_name(group)])
    fitted = {
        group: load_decoder(draft.folder / decoder_name(group), _header(results, group))
        for group, draft in drafts.items()
    }
    responses = _test_responses(results)
    left = set(fitted)
    done = ""
    decoded: Any
    for made in _decoded(context, fitted, rows, targets):
        group, decoded = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(group, str) or group not in left:
            how = "twice" if isinstance(group, str) and group in fitted else f"but was asked for {', '.join(fitted)}"
            raise RunError(f"decode of the regressor {experiment.regression.kind} gave {group!r:.60} {how}")
        if done:  # not before it is known that the next group is another one
            yield done
        _check_names(experiment, "decode", f"test sets of {group}", decoded, responses)
        side = targets[group].shape[1:]
        parts = [
            _rows(experiment, f"{group} of {name}", decoded[name], len(own), side) for name, own in responses.items()
        ]
        values = np.concatenate(parts)
        drafts[group].fill(f"predictions/{group}", values.shape, values.__getitem__)
        if drafts[group].is_constant(f"predictions/{group}"):
            drafts[group].clear()
            raise RunError(
                f"predictions of {group} are the same for all test stimuli, so nothing was decoded: check the alphas of "
                "regression, and that test responses differ"
            )
        left.discard(group)
        done = group
    if done:
        yield done
    _check_names(experiment, "decode", "target groups", set(fitted) - left, fitted)


def _fitted(context: StageContext, rows: TrainingRows, targets: Mapping[str, TargetArray]) -> Mapping[str, Any]:
    """Return what the regressor fits to each group."""
    regression, device = context.experiment.regression, context.experiment.device
    if context.workers is None:
        fitted = regression.fit(rows, targets, device, context.progress)
    else:
        fitted = regression.fit_in_parts(partial(_each, context, tuple(targets)), rows, targets, context.progress)
    _check_names(context.experiment, "fit", "target groups", fitted, targets)
    return fitted


def _decoded(
    context: StageContext,
    fitted: Mapping[str, FittedDecoder],
    rows: TrainingRows,
    targets: Mapping[str, TargetArray],
) -> Iterator[Any]:
    """Yield what the regressor decodes: of one group after the other, or of several at a time by workers."""
    if context.workers is None:
        decode, responses = context.experiment.regression.decode, _test_responses(context.results)
        yield from decode(fitted, rows, targets, responses, context.experiment.device, context.progress) or ()
        return
    for done, (_, made) in enumerate(context.each(_decode_group, list(fitted.items())), 1):
        context.progress("decoding test stimuli", done, len(fitted))
        yield from made


def _decode_group(context: StageContext, item: tuple[str, FittedDecoder]) -> list[Any]:
    """Decode the test sets of one group, on a worker."""
    group, fitted = item
    rows, targets = training_rows(context.experiment, context.results), _targets(context, [group])
    responses = _test_responses(context.results)
    decode = context.experiment.regression.decode
    return list(decode({group: fitted}, rows, targets, responses, context.networks.device) or ())


def _each(
    context: StageContext, groups: Sequence[str], part: PartOfFit[Item, Made], items: Sequence[Item]
) -> Iterator[tuple[Item, Made]]:
    return context.each(partial(_part, groups=groups, part=part), items)


def _part(context: StageContext, item: Item, groups: Sequence[str], part: PartOfFit[Item, Made]) -> Made:
    """Compute a part of a fit, on a worker."""
    rows, targets = training_rows(context.experiment, context.results), _targets(context, groups)
    return part(rows, targets, context.networks.device, item)


def _targets(context: StageContext, groups: Iterable[str]) -> dict[str, TargetArray]:
    return {group: context.results.open_array(f"targets/{group}") for group in groups}


def _rows(experiment: Experiment, what: str, decoded: Any, n: int, side: tuple[int, ...]) -> Features:
    """Return decoded features in the shape of their targets; they may come flattened."""
    flat = (n, int(np.prod(side)))
    shape = flat if getattr(decoded, "shape", ())[1:] == flat[1:] else (n, *side)
    values = real_numbers(decoded, f"{experiment.regression.kind} decoded {what} as", shape)
    return values.reshape(n, *side)


def _check_names(experiment: Experiment, method: str, what: str, came: Any, expected: Iterable[str]) -> None:
    """Refuse results of a regressor for other names than those it was given."""
    if not isinstance(came, Mapping | Set):
        raise RunError(
            f"{method} of the regressor {experiment.regression.kind} gave {type(came).__name__} where a mapping of {what} was "
            "expected"
        )
    if set(came) != set(expected):
        names = [", ".join(sorted(group)) or "none" for group in (set(came), set(expected))]
        raise RunError(
            f"{method} of the regressor {experiment.regression.kind} gave {what} {names[0]}, expected {names[1]}"
        )


def _test_responses(results: Results) -> dict[str, np.ndarray]:
    responses = results.read_array("responses/test")
    return {name: responses[start:stop] for name, (start, stop) in results.read_json("test_sets.json").items()}


def _needs_of(experiment: Experiment, unit: str) -> tuple[Step, ...]:
    return (Step("prepare", "stimuli"), Step("prepare", "responses"), Step("extract", unit))


def _influences(experiment: Experiment, unit: str) -> Mapping[str, Any]:
    return {"regression": experiment.regression.influences_of(unit, experiment.device)}


def _checkpoints(experiment: Experiment, unit: str) -> Mapping[str, Path]:
    return {f"regression.{name}": folder for name, folder in experiment.regression.checkpoints.items()}


STAGE = Stage(
    name="fit",
    does="fit decoders and predict the features of the test stimuli",
    reads="responses, targets",
    writes=("decoders/*.safetensors", "arrays/predictions/**"),
    needs=("prepare", "extract"),
    needs_of=_needs_of,
    influences=_influences,
    compute=_compute,
    units=EXTRACT.units,
    checkpoints=_checkpoints,
    workers="all",
)
