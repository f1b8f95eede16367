"""The section on the recording: sessions, trials, voxels, and what is unusual about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from braindiffuser.report.sections import Cell, Facts, Row, Section, Table, Text

NAME = "the-recording"
SPLIT = "Split: "
"""Beginning of the sentence on how stimuli were divided, which is no warning."""


def recording_section(
    facts: Mapping[str, str], doubts: Sequence[str], sessions: Sequence[Mapping[str, int | float]]
) -> Section:
    """Describe a recording; it stands first on the page if anything is unusual, else in the appendix.

    Args:
        facts: name → text, such as numbers of trials and voxels.
        doubts: sentences on what is unusual.
        sessions: "session", "n_trials", "spread", "offset", "lost" (share of voxels) and "outlier" of each
            (see `datasets.plausibility`).
    """
    told = [Text(text=doubt, style="verdict") for doubt in doubts]
    table = Table(
        caption="Betas of each session. Spread: standard deviation over trials, median over voxels, in the unit of the betas. "
        "Offset: distance of their mean from that of the other session, or from the median of more, in standard deviations. "
        "Voxels lost: those that do not vary, though they do in other sessions. Furthest beta: of any voxel from its median, "
        "over the third quartile of the distances (3 to 10 is usual, more where there are few trials).",
        corner="Session",
        columns=("Trials", "Spread", "Offset", "Voxels lost", "Furthest beta"),
        rows=tuple(_row(session) for session in sessions),
        fold="" if doubts else "Betas of each session",
    )
    return Section(
        name=NAME,
        title="The recording",
        blocks=(*told, Facts(facts=dict(facts)), *([table] if sessions else [])),
        appendix=not doubts,
    )


def warnings_of(sections: Sequence[Section]) -> list[str]:
    """Return what a page says first of its recording: the sentences of `recording_section`."""
    own = [block for section in sections if section.name == NAME for block in section.blocks]
    return [block.text for block in own if isinstance(block, Text) and block.style == "verdict"]


def joint_recording_section(told: Sequence[Sequence[str]], names: Sequence[str] = ()) -> Section | None:
    """Put what pages of all folds, or subjects, say first together: each sentence once, with whose it is where they differ.

    Args:
        told: sentences of each fold or subject.
        names: of the subjects; none: they are folds.

    Returns:
        A section that stands first, or in the appendix if folds only say how they were split; None if they say nothing.
    """
    folds: dict[str, list[int]] = {}
    for number, sentences in enumerate(told):
        for sentence in dict.fromkeys(sentences):
            folds.setdefault(sentence, []).append(number)
    if not folds:
        return None
    in_order = sorted(folds, key=lambda sentence: (sentence.startswith(SPLIT), len(folds[sentence]) < len(told)))
    texts = [
        Text(
            text=_in_folds(sentence, folds[sentence], len(told), names),
            style="note" if sentence.startswith(SPLIT) else "verdict",
        )
        for sentence in in_order
    ]
    return Section(name=NAME, title="The recording", blocks=tuple(texts), appendix=in_order[0].startswith(SPLIT))


def _in_folds(sentence: str, folds: Sequence[int], n_folds: int, names: Sequence[str]) -> str:
    if len(folds) == n_folds:
        return sentence
    if names:
        return f"{', '.join(names[number] for number in folds)}: {sentence}"
    return f"In fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}: {sentence}"


def _row(session: Mapping[str, int | float]) -> Row:
    printed = (
        f"{session['n_trials']:.0f}",
        f"{session['spread']:.3g}",
        f"{session['offset']:.2f}",
        f"{session['lost']:.1%}",
        f"× {session['outlier']:.3g}",
    )
    return Row(label=f"{session['session']:.0f}", cells=tuple(Cell(value=value) for value in printed))
