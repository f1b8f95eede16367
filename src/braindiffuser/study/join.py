"""Whether runs belong together: the same test pictures, features in the same space, drawn and scored in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from braindiffuser.errors import RunError
from braindiffuser.images import load_png, to_uint8
from braindiffuser.run_folder import join_names
from braindiffuser.stages.reconstruct import kind_name
from braindiffuser.step_states import flatten
from braindiffuser.study.members import Member
from braindiffuser.study.one_person import Betas, same_person

FREE = (
    "seed",
    "evaluation.n_resamples",
    "pictures.",
    "generator.diffusion.precision",
    "generator.diffusion.offload",
)
"""Beginnings of settings of compared steps that may differ: they change noise and rounding, not what is measured."""
ALIKE = ("kind", "calibration")
"""Settings of the regression that must agree; others, such as alphas, are each subject's own."""
OF_SUBJECTS = (
    "name",
    "device",
    "dataset",
    "split",
    "targets",
    "generator",
    "evaluation",
    "pictures",
    "analyses",
    "seed",
)
"""Entries of an experiment that are compared elsewhere, or that subjects may have of their own without a word."""


@dataclass(frozen=True)
class Joined:
    """What runs have in common.

    Attributes:
        test_sets: names of the test sets that all have, "test" first.
        remarks: sentences for the page on what differs and may.
    """

    test_sets: tuple[str, ...]
    remarks: tuple[str, ...]


def check_alike(members: Sequence[Member], *, same_pictures: bool = True) -> Joined:
    """Check that runs can be joined.

    Target groups that pictures are drawn from, the generator, its checkpoints, the metrics, and kind and calibration of the
    regression must agree. Test pictures must be the same by content, in the same order, whatever their numbers are. Subject,
    recording, voxels, responses, alphas, training pictures and the seed may differ.

    Args:
        members: two or more.
        same_pictures: whether the subjects must have seen the same test pictures; without, only means can be joined.

    Raises:
        RunError: two runs have betas of the same trials, or differ in what must agree; names the runs and what differs.
    """
    first = members[0]
    refuse_one_person_twice({member.path: member.betas for member in members})
    for other in members[1:]:
        differing = differences(first, other)
        if differing:
            raise RunError(
                f"{other.path} cannot be joined with {first.path}, since they differ in {join_names(differing)}: run one of them "
                "with the settings of the other"
            )
    further = [name for name in first.test_sets if name != "test"]
    sets, remarks = ["test"], remarks_on(members, same_pictures)
    if same_pictures:
        for other in members[1:]:
            said = other_pictures(first, other, "test")
            if said:
                raise RunError(
                    f"{other.path} cannot be joined with {first.path}: {said}; test all subjects on the same pictures, such as "
                    "by a split of the kind shared or listed, and run those again that differ"
                )
    for name in further:
        lacking = [own.name for own in members if name not in own.test_sets]
        compared = () if lacking or not same_pictures else members[1:]
        others = [own for own in compared if other_pictures(first, own, name)]
        if lacking:
            remarks.append(f"Test set {name} is left out: {', '.join(lacking)} lack{'s' * (len(lacking) == 1)} it.")
        elif others:
            remarks.append(f"Test set {name} is left out: {others[0].name} saw other pictures than {first.name}.")
        else:
            sets.append(name)
    return Joined(tuple(sets), tuple(remarks))


def refuse_one_person_twice(betas: Mapping[Path, Betas]) -> None:
    """Raise RunError if two runs are of one person.

    Args:
        betas: folder of each run → what is known of its betas.
    """
    for (one, own), (other, theirs) in combinations(betas.items(), 2):
        found = same_person(own, theirs)
        if found == "one":
            raise RunError(
                f"{one} and {other} have the same betas, and a study counts each subject once: name one of the two"
            )
        if found == "one by name":
            raise RunError(
                f"{one} and {other} were read from the same files of betas under no two names, and a study counts each "
                "subject once: name one of the two, or, if they are two people, give each its own name (dataset.subject) and run "
                "both again"
            )


def differences(first: Member, other: Member) -> list[str]:
    """List what must agree between two runs and does not: "generator.strength: 0.75 and 0.5"."""
    one, two = _compared(first), _compared(other)
    return [
        f"{name}: {one.get(name, 'none')} and {two.get(name, 'none')}"
        for name in dict.fromkeys([*one, *two])
        if one.get(name) != two.get(name) and not name.startswith(FREE)
    ]


def _compared(member: Member) -> dict[str, Any]:
    """Return the settings and hashes of checkpoints that must agree, by dotted names."""
    experiment, records = member.experiment, member.records
    groups = sorted(experiment.generator.uses)
    steps = [
        *(f"extract.{group}" for group in groups),
        *(f"reconstruct.{kind_name(name, 'predictions')}" for name in experiment.generator.chain("full")),
        "evaluate",
    ]
    compared: dict[str, Any] = {"target groups drawn from": ", ".join(groups)}
    for step in steps:
        compared |= _plain(records[step]["settings"])
    regression = experiment.regression.model_dump(mode="json")
    return compared | {f"regression.{name}": regression[name] for name in ALIKE if name in regression}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted names; of a metric only what its scores depend on is compared, not its printed words."""
    printed = (".label", ".description", ".citation")
    return {name: value for name, value in flatten(settings).items() if not name.endswith(printed)}


def other_pictures(first: Member, other: Member, test_set: str) -> str:
    """Say how the test pictures of two runs differ; "" if they are the same in the same order.

    Files are compared by their hashes, and pixel by pixel where these differ, since versions of libraries write one picture in
    different bytes.
    """
    one, two = first.seen_hashes(test_set), other.seen_hashes(test_set)
    if one == two:
        return ""
    one, two = _pixel_hashes(first, test_set), _pixel_hashes(other, test_set)
    if one == two:
        return ""
    n_shared = len(set(one) & set(two))
    place = next((number for number, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]), None)
    if place is None:
        place = min(len(one), len(two))
    numbers = [_stimulus(member, test_set, place) for member in (first, other)]
    counts = f"{n_shared} of {len(one)} test pictures of {first.name} are also among the {len(two)} of {other.name}"
    same = set(one) == set(two) and len(one) == len(two)
    what = "they tested the same pictures in different orders" if same else counts
    return (
        f"{what}, and the first that differ are test picture {place}: {numbers[0]} in {first.path}, {numbers[1]} in "
        f"{other.path}"
    )


def _stimulus(member: Member, test_set: str, place: int) -> str:
    rows = member.test_sets[test_set]
    number = rows.start + place
    return f"stimulus {member.test_ids[number]}" if number < rows.stop else "none"


def _pixel_hashes(member: Member, test_set: str) -> list[str]:
    """Hash the pixels of each picture seen."""
    import hashlib

    rows = member.test_sets[test_set]
    paths = [member.results.picture_path("seen", number) for number in range(rows.start, rows.stop)]
    pictures = (to_uint8(load_png([path])) for path in paths)
    return [hashlib.sha256(str(raw.shape).encode() + raw.tobytes()).hexdigest() for raw in pictures]


def remarks_on(members: Sequence[Member], same_pictures: bool) -> list[str]:
    """Say what differs between runs and may; of the numbers of stimuli only where all saw the same test pictures."""
    remarks = []
    settings = [flatten(_own_settings(member)) for member in members]
    for name in dict.fromkeys(name for own in settings for name in own):
        values = {member.name: str(own.get(name, "none")) for member, own in zip(members, settings, strict=True)}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{value} ({who})" for who, value in values.items())
            remarks.append(f"Runs differ in {name}: {listed}.")
    numbers = {tuple(member.test_ids[member.test_sets["test"]].tolist()) for member in members}
    if same_pictures and len(numbers) > 1:
        remarks.append(
            f"The same test pictures have other stimulus numbers in other runs; those of {members[0].name} are printed here."
        )
    simulated = [member.name for member in members if member.simulated]
    if simulated and len(simulated) < len(members):
        remarks.append(f"No brain was recorded of {', '.join(simulated)}, which are simulated; the others are people.")
    named = [member.subject for member in members if member.subject]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        remarks.append(
            f"Several runs say that their subject is {', '.join(twice)}: intervals over subjects take them for different people."
        )
    for one, other in combinations(members, 2):
        if same_person(one.betas, other.betas) == "perhaps one":
            remarks.append(
                f"{one.name} and {other.name} were read from the same files of betas, and nothing says whether they are one "
                "person: intervals over subjects take them for two."
            )
    return remarks


def _own_settings(member: Member) -> dict[str, Any]:
    content = member.experiment.model_dump(mode="json")
    own = {name: value for name, value in content.items() if name not in OF_SUBJECTS}
    own["regression"] = {name: value for name, value in own["regression"].items() if name != "alphas"}
    precision = member.records["reconstruct.final"]["settings"].get("generator", {}).get("diffusion", {})
    return {**own, "seed": member.experiment.seed, "precision of diffusion": (precision or {}).get("precision", "none")}
