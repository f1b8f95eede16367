"""The card of a shared decoder: a README with the front matter that model hubs read, written from its facts alone."""

from __future__ import annotations

from collections.abc import Iterator

from braindiffuser.datasets.trial_normalisation import Z_SCORED_BY
from braindiffuser.plain_data import as_yaml
from braindiffuser.report.numbers import interval, number, percent, percent_interval
from braindiffuser.sharing.facts import DecoderFacts, Estimate, GroupFacts, PictureScore

INTRODUCTION = """\
Decodes features of pictures from a person's responses in fMRI, by ridge regression of reduced rank. It was made by
[braindiffuser](https://doi.org/10.1038/s41598-023-42891-8) {version} and holds no training responses and no training targets."""
USE = """\
    import braindiffuser

    decoder = braindiffuser.SharedDecoder.from_pretrained("owner/name")  # or a folder
    features = decoder.decode(responses)                                 # (n, {n}) → group → features

On the command line: `braindiffuser decode FOLDER responses.npz --out features.npz`."""
PRIVACY = """\
Each voxel has {ranks} numbers here, made from its {n} training responses{so}. These numbers are its mean and spread, and how it
responds to what pictures show. For anybody else, and for other voxels, the decoder is worth nothing; whoever has it can decode
this person's responses."""
FEWER = ": too few to determine them, but the part that pictures drive can be estimated by anyone who knows the training pictures"
AS_MANY = (
    ", which are no more. Whoever has the training pictures can compute most of these responses: share a lower rank"
)


def card(facts: DecoderFacts, n_bytes: int) -> str:
    """Return the text of the card.

    Args:
        facts: of the decoder.
        n_bytes: size of its file.
    """
    front = {
        "library_name": "braindiffuser",
        "license": facts.origin.licence,
        "tags": ["brain-decoding", "fmri", "ridge-regression", *(["simulated"] if facts.origin.simulated else [])],
    }
    sections = {
        f"# {_title(facts)}": [INTRODUCTION.format(version=facts.origin.version), *_warning(facts)],
        "## Use": [USE.format(n=facts.voxels.n)],
        "## What it decodes": [_groups(facts), *_lost(facts)],
        "## What responses it takes": _responses(facts),
        "## Scores of the whole decoder's pictures": list(_scores(facts)),
        "## Terms": _terms(facts),
        "## What it tells of the training responses": [_privacy(facts)],
        "## File": [f"`decoder.safetensors`, {n_bytes / 1e6:,.1f} MB, {facts.precision}; no pickle, no code."],
    }
    said = "\n\n".join("\n\n".join([head, *texts]) for head, texts in sections.items() if texts)
    return f"---\n{as_yaml(front)}---\n\n{said}\n"


def _title(facts: DecoderFacts) -> str:
    return f"Decoder of {_line(facts.origin.subject) or 'a person'} ({_line(facts.origin.recording)})"


def _warning(facts: DecoderFacts) -> list[str]:
    return ["**Nobody was scanned: the subject is simulated.**"] if facts.origin.simulated else []


def _groups(facts: DecoderFacts) -> str:
    rows = [
        f"| {group} | {' × '.join(map(str, own.shape))} | {own.alpha:,g} | {own.rank} "
        f"| {percent(own.lost, 2)}{_limit(own)} | {percent(own.lost_of_targets.median, 1)} "
        f"| {percent(own.lost_of_targets.ninth_decile, 1)} |"
        for group, own in facts.groups.items()
    ]
    heads = (
        "| features | shape | alpha | rank | lost | of the median target | of nine in ten, up to |\n" + 7 * "|---" + "|"
    )
    return "\n".join([heads, *rows])


def _lost(facts: DecoderFacts) -> list[str]:
    said = [
        "*lost*: share of the variance of training predictions that the whole decoder has and this one, as stored, has not, each "
        "target in units of the standard deviation of its training targets; beside it the share of a target's own variance. "
        + (
            "Calibration, which is folded in, restores this spread."
            if facts.calibration == "inductive"
            else "Predictions are not calibrated."
        )
    ]
    rows = [
        f"| {group} | {_line(name)} ({own.n_images}) | {percent(own.difference, 2)} "
        f"| {_estimate(own.whole)} | {_estimate(own.shared)} |"
        for group, facts_of in facts.groups.items()
        for name, own in facts_of.test_sets.items()
    ]
    heads = "| features | test set (pictures) | difference | two-way identification, whole | shared |\n|---|---|---|---|---|"
    note = (
        "*difference*: squared difference of decoded features from the whole decoder's, as a share of their variance, in the "
        "same units. Test responses chose nothing. Two-way identification: share of other pictures that decoded features are "
        "less correlated with; chance 50 %."
    )
    return [*said, "\n".join([heads, *rows]), note] if rows else said


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    ends = "" if estimate.ci95 is None else f" [{percent_interval(estimate.ci95)}]"
    return f"{percent(estimate.value, 1)}{ends}"


def _responses(facts: DecoderFacts) -> list[str]:
    voxels, own = facts.voxels, facts.responses
    chosen = f", chosen by {', '.join(map(_line, voxels.regions))}" if voxels.regions else ""
    ceiling = f", with a noise ceiling of at least {voxels.min_noise_ceiling:g} %" if voxels.min_noise_ceiling else ""
    rows = "averages over repeats" if own.rows == "averages" else "single trials"
    return [
        f"{voxels.n:,} voxels in the space {_line(voxels.space)}{chosen}{ceiling}, in the order of the recording; fingerprint "
        f"`{_line(voxels.fingerprint)}`. Fitted to {rows} of {own.n_stimuli:,} stimuli ({own.mean_repeats:.3g} trials each), "
        f"normalised by `{_line(own.normalisation)}`. {_recipe(facts)}"
    ]


def _recipe(facts: DecoderFacts) -> str:
    """Say how betas of a new session become responses."""
    by = Z_SCORED_BY[facts.responses.normalisation]
    if by:
        return (
            f"Betas of a new {by[-1]}, all of its trials together, are normalised in the same way with `betas=True` (`--betas`): "
            f"by their own mean and spread, then by those of the training averages, which are in the file."
        )
    if facts.responses.normalisation == "none":
        return "Betas are decoded as they are."
    return "Betas are normalised in the same way with `betas=True` (`--betas`), one trial at a time if need be."


def _scores(facts: DecoderFacts) -> Iterator[str]:
    for name, own in facts.scores.items():
        rows = [
            f"| {_line(each.label)} | {'↑' if each.higher_is_better else '↓'} | {_score(each)} |"
            for each in own.metrics.values()
        ]
        which = f"{_line(name)}, {own.n_images} pictures, profile {_line(own.profile)}"
        heads = f"| {which} | | score [95 % interval] |\n|---|---|---|"
        yield "\n".join([heads, *rows])


def _score(found: PictureScore) -> str:
    if found.is_share:
        return _estimate(found.score)
    ends = "" if found.score.ci95 is None else f" [{interval(found.score.ci95)}]"
    return f"{number(found.score.value)}{ends}"


def _terms(facts: DecoderFacts) -> list[str]:
    terms = facts.origin.terms
    if facts.origin.simulated:
        return ["The responses are simulated: no data agreement binds them."]
    if terms is None:
        return ["The recording states no terms: ask those who recorded it before you pass this decoder on."]
    said = [f"Data: {_line(terms.licence)} ({_line(terms.page)})."] + (
        [f"{_line(terms.terms)}."] if terms.terms else []
    )
    return [*said, "Whether a decoder that was fitted to these data may be passed on is for their owners to say."]


def _privacy(facts: DecoderFacts) -> str:
    ranks, n = n_numbers(facts), facts.responses.n_stimuli
    return PRIVACY.format(ranks=f"{ranks:,}", n=f"{n:,}", so=FEWER if ranks < n else AS_MANY)


def n_numbers(facts: DecoderFacts) -> int:
    """Count what a decoder holds of each voxel: a weight for each direction of each group, mean and spread, before and after."""
    return sum(own.rank for own in facts.groups.values()) + 4


def group_sentences(group: str, own: GroupFacts) -> Iterator[str]:
    """Yield what a person is told when a group is made: rank and loss, then the difference on each test set."""
    of_targets = own.lost_of_targets
    yield (
        f"{group}: rank {own.rank}, {percent(own.lost, 2)} of the variance of training predictions lost{_limit(own)}; of a "
        f"target's own {percent(of_targets.median, 1)} (median), of nine in ten up to {percent(of_targets.ninth_decile, 1)}"
    )
    for name, found in own.test_sets.items():
        ways = (
            f"; two-way identification {_estimate(found.whole)} before, {_estimate(found.shared)} after"
            if found.whole
            else ""
        )
        yield f"{group}, test set {name}: features differ by {percent(found.difference, 2)} of their variance{ways}"


def _limit(own: GroupFacts) -> str:
    return f" (more than {percent(own.wanted, 2)}: the limit on rank was reached)" if own.limited else ""


def _line(text: str) -> str:
    """Return text as one line of a table."""
    return " ".join(text.replace("|", "/").split())
