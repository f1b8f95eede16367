"""Sections on several subjects, from the content of a study's `scores.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from braindiffuser.report import tables
from braindiffuser.report.figures import subjects_panel
from braindiffuser.report.numbers import MISSING, join, p_value, percent
from braindiffuser.report.score_sections import ScoredSet, gallery_section, scores_table
from braindiffuser.report.sections import (
    Block,
    Cell,
    Facts,
    Figure,
    Figures,
    Headline,
    Headlines,
    Links,
    Row,
    Section,
    Table,
    Text,
)
from braindiffuser.report.tables import Comparison, Estimate, format_interval, format_score, metric_label

SUB_AVG = "Sub Avg"
"""Pictures drawn from features that are averaged over subjects, as the paper calls them."""
FEW = 5
"""Of fewer subjects an interval over subjects says little."""
DOTS = (
    "Open dots are subjects, with 95 % intervals over test pictures. The mean of the subjects has two: thick over pictures, of "
    "these subjects; thin over subjects, of the people that they stand for. A dotted line marks chance."
)


def study_sections(
    joint: Mapping[str, Any], scored: ScoredSet | None, ablations: Mapping[str, str], headlines: Sequence[str] = ()
) -> list[Section]:
    """Make the sections of a study's page.

    Args:
        joint: content of a study's `scores.json`.
        scored: test pictures with their mean scores over subjects, for the gallery; None if subjects saw different ones.
        ablations: name of each ablation → label.
        headlines: keys of the metrics that are printed large; none: the first four.
    """
    average = [average_section(joint)] if joint.get("subject_average") else []
    parts = ablations_section(joint, ablations)
    tested = prevalence_section(joint)
    return [
        scores_section(joint, headlines),
        *average,
        *([parts] if parts else []),
        *([tested] if tested else []),
        *([gallery_of_subjects(scored)] if scored else []),
        *(_further(name, scores, joint) for name, scores in joint["test_sets"].items()),
        subjects_section(joint),
        how_to_read_section(joint, scored.notes if scored else {}),
    ]


def names_of(joint: Mapping[str, Any]) -> list[str]:
    """Return the names of the subjects, in order."""
    return [str(subject["name"]) for subject in joint["subjects"]]


# Scores


def scores_section(joint: Mapping[str, Any], headlines: Sequence[str] = ()) -> Section:
    """Show every metric of each subject and their mean, with both kinds of intervals."""
    metrics, names = joint["metrics"], names_of(joint)
    keys = [key for key in headlines if key in metrics] or list(metrics)[:4]
    text = (
        f"Every metric for the reconstructions of {joint['n_images']:,} test pictures by {len(names)} subjects, and their mean."
        if joint["shared_pictures"]
        else f"Every metric for the reconstructions of {len(names)} subjects, each of its own test pictures, and their mean."
    )
    return Section(
        name="scores",
        title="Scores of each subject, and their mean",
        blocks=(
            Headlines(items=tuple(_headline(metrics[key], len(names)) for key in keys)),
            Text(text=worth_sentence(joint), style="verdict"),
            Text(text=f"{text} {few_sentence(len(names))}".strip()),
            subject_panels(joint, "scores"),
            subjects_table(joint),
            compared_table(joint),
        ),
    )


def few_sentence(n_subjects: int) -> str:
    """Return what a reader must know of intervals over so few subjects; "" if they are not few."""
    if n_subjects >= FEW:
        return ""
    return (
        f"Of {tables.NUMBERS[n_subjects]} subjects an interval over subjects is wide, and rests on their scores being about "
        "normal, which so few cannot show."
    )


def worth_sentence(joint: Mapping[str, Any]) -> str:
    """Return a sentence: on how many metrics the reconstructions of every subject beat all baselines of its own run."""
    metrics, n = joint["metrics"], len(names_of(joint))
    compared = {key: entry["baseline_wins"] for key, entry in metrics.items() if entry.get("baseline_wins")}
    if not compared:
        return "The runs have no baseline in common, so reconstructions were compared with none."
    won = [key for key, wins in compared.items() if sum(wins.values()) == n]
    rest = [
        f"{metrics[key]['label']} ({sum(wins.values())} of {n})" for key, wins in compared.items() if key not in won
    ]
    not_on = f"; not all on {join(rest)}" if rest else ""
    return (
        f"On {len(won)} of {len(compared)} metrics the reconstructions of all {n} subjects are better than every baseline, with "
        f"95 % intervals that do not overlap{not_on}."
    )


def _headline(entry: Mapping[str, Any], n_subjects: int) -> Headline:
    pictures = format_interval(entry, Estimate(entry["value"], *entry["ci95"]))
    subjects = _over_subjects(entry)
    notes = [f"over pictures: {pictures}", *([f"over {n_subjects} subjects: {subjects}"] if subjects else [])]
    label = "\u00a0".join(metric_label(entry).rsplit(" ", 1))
    return Headline(label=label, value=format_score(entry, entry["value"]), notes=tuple(notes))


def _over_subjects(entry: Mapping[str, Any]) -> str:
    interval = entry["ci95_subjects"]
    return format_interval(entry, Estimate(entry["value"], *interval)) if interval else ""


def subject_panels(joint: Mapping[str, Any], name: str) -> Figures:
    """Draw one panel over subjects for each family of metrics that occurs."""
    drawn: list[Figure] = []
    for number, family in enumerate(tables.FAMILIES):
        entries = [entry for entry in joint["metrics"].values() if tables.metric_family(entry) == family]
        if entries:
            panel = subjects_panel(entries, names_of(joint), f"{name}-subjects-{number}")
            drawn.append(panel.model_copy(update={"note": "" if drawn else DOTS}))
    return Figures(figures=tuple(drawn))


def subjects_table(joint: Mapping[str, Any]) -> Table:
    """Print every metric of each subject, the mean with both intervals, and the pictures of averaged features."""
    names, metrics = names_of(joint), joint["metrics"]
    has_average = any(entry.get("subject_average") for entry in metrics.values())
    rows = []
    for entry in metrics.values():
        each = [Estimate(entry["subjects"][name], *(entry["subjects_ci95"][name] or (None, None))) for name in names]
        found = [*each, Estimate(entry["value"], *entry["ci95"])]
        cells = [Cell(value=format_score(entry, item.value), interval=format_interval(entry, item)) for item in found]
        cells.append(Cell(value=_over_subjects(entry) or MISSING))
        cells += [_average_cell(entry)] if has_average else []
        rows.append(Row(label=metric_label(entry), cells=tuple(cells)))
    return Table(
        caption="Value and 95 % interval over test pictures of each subject and of their mean; apart, the 95 % interval of the "
        "mean over subjects",
        corner="Metric",
        columns=(*names, "Mean", "95 % over subjects", *([SUB_AVG] if has_average else [])),
        rows=tuple(rows),
        main="Mean",
    )


def _average_cell(entry: Mapping[str, Any]) -> Cell:
    average = entry.get("subject_average")
    if not average:
        return Cell(value=MISSING)
    found = Estimate(average["value"], *average["ci95"])
    return Cell(value=format_score(entry, found.value), interval=format_interval(entry, found))


def compared_table(joint: Mapping[str, Any]) -> Table:
    """Print means over subjects of reconstruction, ceiling and baselines."""
    conditions = {
        name: label
        for name, label in tables.COMPARED.items()
        if any(tables.estimate(entry, name) for entry in joint["metrics"].values())
    }
    caption = (
        "Means over subjects of reconstruction, ceiling and baselines; intervals over pictures where there are any"
    )
    return scores_table(
        joint, conditions, caption, "Reconstruction", chance=True, fold="Ceiling and baselines, means over subjects"
    )


# Averaged features


def average_section(joint: Mapping[str, Any]) -> Section:
    """Say whether pictures of averaged features are better than those of a subject, from the paired differences."""
    metrics = {entry["label"]: entry for entry in joint["metrics"].values() if entry.get("subject_average")}
    spread = joint["subject_average"]["spread"]
    listed = ", ".join(f"{group} {percent(share)}" for group, share in spread.items())
    text = (
        "Features that each subject's decoder predicted were averaged picture by picture, and pictures drawn from the averages "
        "once. Errors that subjects do not share average out, and so does part of what they predict: the features of different "
        f"pictures vary less than one subject's do ({listed} of the standard deviation). It is not undone, as in the paper."
    )
    rows = []
    for entry in metrics.values():
        own = entry["subject_average"]
        gain = Estimate(own["gain"], *own["gain_ci95"])
        cells = (
            Cell(value=format_score(entry, entry["value"])),
            _average_cell(entry),
            Cell(value=signed(entry, gain.value), interval=signed_interval(entry, gain)),
            Cell(value=_best_subject(entry)),
        )
        rows.append(Row(label=metric_label(entry), cells=cells))
    table = Table(
        caption="Pictures of averaged features beside the mean of the subjects; gain: how much better, picture by picture, with "
        "its 95 % interval over pictures",
        corner="Metric",
        columns=("Mean of subjects", SUB_AVG, "Gain", "Best subject"),
        rows=tuple(rows),
        main="Gain",
    )
    return Section(
        name="subject-average",
        title="Features averaged over subjects",
        blocks=(Text(text=average_sentence(joint), style="verdict"), Text(text=text), table),
    )


def average_verdicts(joint: Mapping[str, Any]) -> dict[str, Comparison]:
    """Return, by metric key, whether pictures of averaged features are better than the mean subject's: by the paired interval."""
    verdicts: dict[str, Comparison] = {}
    for key, entry in joint["metrics"].items():
        if entry.get("subject_average"):
            low, high = entry["subject_average"]["gain_ci95"]
            verdicts[key] = "better" if low > 0 else "worse" if high < 0 else "overlap"
    return verdicts


def average_sentence(joint: Mapping[str, Any]) -> str:
    """Return a sentence: on which metrics pictures of averaged features beat the mean of the subjects."""
    verdicts, metrics = average_verdicts(joint), joint["metrics"]
    labels = {
        wanted: [metrics[key]["label"] for key, found in verdicts.items() if found == wanted]
        for wanted in ("better", "worse", "overlap")
    }
    said = f"Averaging features beats the mean of the subjects on {len(labels['better'])} of {len(verdicts)} metrics"
    worse = f"; it is worse on {join(labels['worse'])}" if labels["worse"] else ""
    open_ = f"; undecided on {join(labels['overlap'])}" if labels["overlap"] else ""
    return f"{said}{worse}{open_} (95 % intervals of paired differences over pictures)."


def _best_subject(entry: Mapping[str, Any]) -> str:
    best = (max if entry["higher_is_better"] else min)(entry["subjects"].values())
    name = next(name for name, value in entry["subjects"].items() if value == best)
    return f"{format_score(entry, best)} ({name})"


# Ablations


def ablations_section(joint: Mapping[str, Any], ablations: Mapping[str, str]) -> Section | None:
    """Show what leaving each part of the method out costs, over subjects; None if the runs have no ablation in common."""
    metrics = list(joint["metrics"].values())
    common = {
        name: label for name, label in ablations.items() if all(name in entry["ablation_losses"] for entry in metrics)
    }
    if not common or not metrics:
        return None
    n = len(names_of(joint))
    rows = [
        Row(
            label=metric_label(entry),
            cells=tuple(_loss_cell(entry, entry["ablation_losses"][name], n) for name in common),
        )
        for entry in metrics
    ]
    table = Table(
        caption="What leaving a part out costs: the whole method's score less that of the ablation, positive if the whole is "
        "better; mean over subjects, its 95 % interval over subjects, and in how many subjects the whole is better",
        corner="Metric",
        columns=tuple(common.values()),
        rows=tuple(rows),
        beside="95 %; subjects better",
    )
    said = [Text(text=ablation_sentence(joint, name, label), style="verdict") for name, label in common.items()]
    said += [Text(text=text, style="note") for text in ablated_sentences(joint)]
    means = scores_table(
        tables.of_ablated(joint),
        {**common, "reconstruction": "Whole method"},
        "Means over subjects of the method without a part of it, and whole",
        "Whole method",
        fold="Means of every ablation",
    )
    return Section(name="ablations", title="The method without its parts, over subjects", blocks=(*said, table, means))


def ablated_sentences(joint: Mapping[str, Any]) -> list[str]:
    """Say of how many test pictures ablations are, and the whole method beside them, where these are not all in every run."""
    ablated = next((entry["ablated"] for entry in joint["metrics"].values() if entry.get("ablated")), None)
    if ablated is None:
        return []
    numbers = ablated["n_images_subjects"]
    if ablated["n_images"] is not None:
        return [
            f"Ablations, and the whole method beside them, are of {ablated['n_images']:,} test pictures of each subject, scored "
            "among these."
        ]
    listed = ", ".join(f"{n:,} ({name})" for name, n in numbers.items())
    return [
        f"Ablations, and the whole method beside them, are of other numbers of test pictures in other runs: {listed}. Each loss "
        "is of the same pictures of one subject, but identification among fewer pictures is easier, so that means over "
        "subjects mix easier and harder comparisons."
    ]


def _loss_cell(entry: Mapping[str, Any], loss: Mapping[str, Any], n: int) -> Cell:
    wins = sum(value > 0 for value in loss["subjects"].values())
    interval = loss["ci95_subjects"]
    said = f"{signed_interval(entry, Estimate(loss['value'], *interval))}; " if interval else ""
    return Cell(value=signed(entry, loss["value"]), interval=f"{said}{wins} of {n}")


def ablation_sentence(joint: Mapping[str, Any], name: str, label: str) -> str:
    """Return a sentence: on which metrics the whole method is better, or worse, in every subject."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "mixed": []}
    for entry in joint["metrics"].values():
        losses = list(entry["ablation_losses"][name]["subjects"].values())
        verdict = "better" if min(losses) > 0 else "worse" if max(losses) < 0 else "mixed"
        found[verdict].append(entry["label"])
    better, worse, mixed = (join(found[verdict]) for verdict in ("better", "worse", "mixed"))
    rest = f", and not the same way in all on {mixed}" if mixed else ""
    both = f"better on {better or 'no metric'} and worse on {worse or 'none'}"
    return f"{label}: in every subject the whole method is {both}{rest}."


# Prevalence


def prevalence_section(joint: Mapping[str, Any]) -> Section | None:
    """Show p values of each subject and what they say of a population; None if no permutations were drawn."""
    found = {key: entry for key, entry in joint["metrics"].items() if entry.get("prevalence")}
    if not found:
        return None
    names = names_of(joint)
    rows = []
    for entry in found.values():
        own = entry["prevalence"]
        cells = [Cell(value=p_value(own["p_subjects"][name])) for name in names]
        cells += [Cell(value=p_value(own["p_global"])), Cell(value=p_value(own["p_majority"]))]
        cells.append(Cell(value=percent(own["bound"])))
        rows.append(Row(label=metric_label(entry), cells=tuple(cells)))
    first = next(iter(found.values()))["prevalence"]
    table = Table(
        caption="p of each subject: how rarely its reconstructions score as well with other test pictures in place of their own. "
        "p nobody, p majority: of the nulls that nobody, or at most half of the population, has the effect. At least: the "
        f"prevalence that is exceeded at a level of {first['alpha']:g}. Not corrected over metrics",
        corner="Metric",
        columns=(*names, "p nobody", "p majority", "At least"),
        rows=tuple(rows),
        main="At least",
    )
    sentences = prevalence_sentences(joint)
    said = [Text(text=sentences[0], style="verdict"), *(Text(text=line) for line in sentences[1:])]
    return Section(name="prevalence", title="In how many people?", blocks=(*said, table))


def prevalence_sentences(joint: Mapping[str, Any]) -> list[str]:
    """Say what the minimum over subjects shows, what it could show at most, and what was permuted."""
    found = {key: entry for key, entry in joint["metrics"].items() if entry.get("prevalence")}
    own = [entry["prevalence"] for entry in found.values()]
    shown = {entry["label"]: entry["prevalence"]["bound"] for entry in found.values()}
    held = [label for label, bound in shown.items() if bound is not None]
    n, largest = len(names_of(joint)), own[0]["largest_bound"]
    bounds = [bound for bound in shown.values() if bound is not None]
    least = f" in at least {percent(min(bounds))} of the population" if bounds else ""
    first = (
        f"On {len(held)} of {len(shown)} metrics reconstructions fit their own test pictures better than others{least} (minimum "
        f"over {n} subjects, p at most {own[0]['alpha']:g})."
    )
    drawn = f"{n} subjects and {own[0]['n_permutations']:,} permutations of each"
    limit = f"With {drawn}, {percent(largest)} is the most that can be shown"
    what = (
        f"{limit}, however clear the effect: five subjects or more are needed for more than half."
        if largest < 0.5
        else f"{limit}, however clear the effect."
    )
    fewer = sorted({entry["prevalence"]["n_images"] for entry in found.values()})
    taken = (
        f" Metrics on pixels were permuted over {fewer[0]} of {fewer[-1]:,} test pictures, evenly spaced."
        if len(fewer) > 1
        else ""
    )
    test = (
        "In each subject reconstructions are held against stimuli that are drawn without replacement. The smallest score of all "
        "subjects is compared with that of all combinations of their permutations (Allefeld, Görgen & Haynes 2016), which asks "
        f"for an effect in each subject, not on average.{taken}"
    )
    return [first, what, test]


# Pictures, subjects, terms


def gallery_of_subjects(scored: ScoredSet) -> Section:
    """Show the same test pictures side by side, as each subject saw them; ordered by the mean score over subjects."""
    section = gallery_section(scored)
    first = section.blocks[0]
    assert isinstance(first, Text)  # noqa: S101  as `gallery_section` makes it
    text = f"{first.text} The order is that of the mean over subjects, whose scores stand beside each row."
    return section.model_copy(
        update={"title": "The same pictures from every subject", "blocks": (Text(text=text), *section.blocks[1:])}
    )


def subjects_section(joint: Mapping[str, Any]) -> Section:
    """List the subjects with links to their own pages, and what differs between their runs."""
    subjects = joint["subjects"]
    rows = tuple(
        Row(
            label=str(own["name"]),
            cells=tuple(
                Cell(value=value)
                for value in (
                    f"{own['n_images']:,}",
                    f"{own['n_train']:,}",
                    f"{own['n_voxels']:,}",
                    own["split"],
                    own["run"],
                )
            ),
        )
        for own in subjects
    )
    table = Table(
        caption="Runs that were put together",
        corner="Subject",
        columns=("Test pictures", "Training pictures", "Voxels", "Split", "Run"),
        rows=rows,
    )
    links = {str(own["name"]): own["page"] for own in subjects if own["page"]}
    to_pages: list[Block] = [Text(text="Pages of the subjects, with all that one run tells:"), Links(links=links)]
    remarks = [Text(text=text, style="note") for text in joint["remarks"]]
    return Section(name="subjects", title="Subjects", blocks=(table, *(to_pages if links else ()), *remarks))


def _further(name: str, scores: Mapping[str, Any], joint: Mapping[str, Any]) -> Section:
    whole = {**scores, "subjects": joint["subjects"], "shared_pictures": joint["shared_pictures"]}
    section = f"test-set-{re.sub('[^a-z0-9]+', '-', name.lower())}"
    title, note = scores.get("heading") or (f"Test set {name}", "")
    text = f"{scores['n_images']} further test pictures. They enter no other score of this page. {note}".strip()
    return Section(
        name=section,
        title=title,
        blocks=(Text(text=text), subject_panels(whole, section), subjects_table(whole)),
    )


def how_to_read_section(joint: Mapping[str, Any], notes: Mapping[str, str]) -> Section:
    """Explain the intervals, averages and tests of the page."""
    names, there = names_of(joint), joint["metrics"].values()
    facts = {
        "Mean": "The mean of the subjects' values, each subject with the same weight.",
        "Intervals over pictures": "95 % intervals over test pictures, "
        + (
            "where a picture's score is its mean over the subjects. "
            if joint["shared_pictures"]
            else "which are a sample in each subject apart. "
        )
        + "They hold for these subjects and these fits.",
        "Intervals over subjects": f"95 % intervals of the mean of the people that these {len(names)} are a sample of: mean "
        "± t · s / √N (Student). They hold for these test pictures.",
    }
    if joint.get("subject_average"):
        facts[SUB_AVG] = (
            f"Features predicted from all {len(names)} subjects, averaged, then drawn and scored as those of one subject; noise "
            f"and generator are those of the run of {names[0]}."
        )
    if any(entry.get("prevalence") for entry in there):
        facts["Prevalence"] = (
            "The share γ of a population that has an effect. The test is of the minimum over subjects: "
            "p = [(1 − γ) p₀^(1/N) + γ]^N, with p₀ that of the null that nobody has it. Distances count with their sign turned."
        )
    if joint["missing"]:
        facts["Left out"] = (
            f"Metrics of {', '.join(joint['missing'])}: not all runs have the checkpoints of these networks."
        )
    facts |= notes
    facts |= {entry["label"]: entry["description"] for entry in there if entry["description"]}
    return Section(
        name="how-to-read",
        title="How to read this page",
        blocks=(Facts(facts=facts, style="explained"),),
        appendix=True,
    )


def signed(entry: Mapping[str, Any], value: float) -> str:
    """Print a difference of scores with its sign.

    >>> signed({"higher_is_better": True}, 0.05), signed({"higher_is_better": True, "chance": 0.5}, -0.012)
    ('+0.050', '−1.2 %')
    """
    return f"{'−' if value < 0 else '+'}{format_score(entry, abs(value))}"


def signed_interval(entry: Mapping[str, Any], found: Estimate) -> str:
    """Print the interval of a difference, with signs."""
    if found.low is None or found.high is None:
        return ""
    return f"{signed(entry, found.low).removesuffix(' %')} to {signed(entry, found.high)}"
