"""From the numbers of finished runs to what is found: the content of `findings.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from braindiffuser.reproduction.claims import (
    FULL,
    Claim,
    RankedMetric,
    ablation_claims,
    count_sentences,
    mean_and_sem,
    position,
    weight_claims,
)
from braindiffuser.reproduction.published import (
    GROUP_NAMES,
    METRICS,
    N_TEST,
    N_TRAIN,
    OTHER_WEIGHTS,
    SESSIONS,
    TABLE_1,
    TABLE_2,
    VOXELS,
)

OWN_SSIM = "ssim_column_mean"
"""Key of the paper's own SSIM; a profile that has it is compared on the metrics of the paper's table alone."""
SHUFFLES = 0
"""Seed of the exchanges of labels that claims are held against."""
RunFacts = Mapping[str, Any]
"""What is read of one run: see `run_facts.run_facts`."""


def findings(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Put the numbers of all runs together.

    Args:
        runs: subject by subject, split by split; the first split is the replication, all others generalise.

    Returns:
        "subjects"; "splits" (names; those that are averaged have one); "unexpected" (sentences on counts, and on what some runs
        lack); "missing" (networks that a run had no checkpoint of); "scores", "ablations" and "weights" of all runs of the first
        split, "accuracy" of a subject's first run; "generalisation"; "groups"; and "runs".

    Raises:
        ValueError: if there is no run.
    """
    if not runs:
        raise ValueError("there is no run to find anything in: run one or more subjects")
    splits = list(dict.fromkeys(run["averaged_as"] for run in runs))
    main = [run for run in runs if run["averaged_as"] == splits[0]]
    unexpected = [sentence for run in main for sentence in _counts(run)]
    return {
        "subjects": list(dict.fromkeys(run["subject"] for run in runs)),
        "splits": splits,
        "unexpected": [*unexpected, *_left_out(runs), *_lacking_weights(main)],
        "missing": list(dict.fromkeys(name for run in runs for name in run["missing"])),
        "scores": table_1(main),
        "ablations": table_2(main),
        "weights": figure_8(main),
        "accuracy": accuracy(main),
        "generalisation": generalisation(runs, splits),
        "groups": _groups(runs),
        "runs": list(runs),
    }


def table_1(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return every metric by subject, its mean over subjects with standard error, and where it lies beside the published rows.

    Returns:
        Metric's key → facts of the metric, "subjects" (name → value, low, high), "mean", "sem", "original" (row → value) and
        "position" (row → subject → "within", "above" or "below").
    """
    found = {}
    for key, entry in _metrics(runs).items():
        own = {subject: _estimate(of_subject, key) for subject, of_subject in _by_subject(runs).items()}
        mean, sem = mean_and_sem(value for value, _, _ in own.values())
        original = {row: values[key] for row, values in TABLE_1.items() if key in values}
        found[key] = {
            **_facts(entry),
            "subjects": {subject: list(each) for subject, each in own.items()},
            "mean": mean,
            "sem": sem,
            "original": original,
            "position": {
                row: {
                    subject: position(value, None if low is None or high is None else [low, high], published)
                    for subject, (value, low, high) in own.items()
                }
                for row, published in original.items()
                if OTHER_WEIGHTS.get(key) != row
            },
        }
    return found


def table_2(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return the scores of the whole method and of each ablation, and what they say of the paper's claims.

    Returns:
        "n_images" (test pictures of each subject that the ablations were drawn for; a list where it has several runs), "labels"
        (variant → as the pages of the runs print it), "metrics" (key → facts, "subjects": name → variant → value, "mean" and
        "sem": variant → number, "original": variant → value) and "claims" (each
        with "text", "verdict", "sentence", "fails_on": subject → metrics or regions, "tested", "n_held": comparisons of all
        subjects in which it holds, and "shuffled": mean and middle 95 % of these where labels are exchanged, or None).
    """
    by_subject, metrics = _by_subject(runs), _metrics(runs)
    variants = {key: _variants(runs, key) for key in metrics}
    found: dict[str, Any] = {}
    for key, entry in metrics.items():
        own = {
            subject: {name: _mean(_variant(run, key, name) for run in each) for name in variants[key]}
            for subject, each in by_subject.items()
        }
        over = {name: mean_and_sem(values[name] for values in own.values()) for name in variants[key]}
        found[key] = {
            **_facts(entry),
            "subjects": own,
            "mean": {name: mean for name, (mean, _) in over.items()},
            "sem": {name: sem for name, (_, sem) in over.items()},
            "original": {name: row[key] for name, row in TABLE_2.items() if key in row},
        }
    drawn = {key: entry for key, entry in found.items() if len(entry["mean"]) > 1}
    scores = {
        subject: {key: entry["subjects"][subject] for key, entry in drawn.items()} for subject in by_subject if drawn
    }
    counted = drawn.keys() & set(METRICS) if OWN_SSIM in drawn else drawn.keys()  # not SSIM twice
    known = [
        RankedMetric(key, entry["label"], entry["higher_is_better"], entry["is_low_level"])
        for key, entry in drawn.items()
        if key in counted
    ]
    return {
        "n_images": {
            subject: each[0]["n_ablated"] if len(each) == 1 else [run["n_ablated"] for run in each]
            for subject, each in by_subject.items()
        },
        "labels": {
            FULL: "Whole method",
            **{name: label for run in reversed(runs) for name, label in run["labels"].items()},
        },
        "metrics": drawn,
        "claims": _as_facts(ablation_claims(scores, known, np.random.default_rng(SHUFFLES))),
    }


def figure_8(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return how far weights of each group exceed those of the reference, region by region, over subjects.

    Returns:
        "reference" (a group), "groups" (that all subjects have), "names" (group → in print), "n_voxels" (region → subject →
        voxels), "weights" and "patterns" (group → region → "mean", "sem", "subjects": name → difference, "p": name → two-sided p
        against random sets of as many voxels, "p_contiguous": the same against regions of as many neighbouring voxels, where
        places are known), "n_runs" (name → runs whose mean its differences are; such a subject has no p),
        "claims" on the weights, and "pattern_claims" on the patterns; {} if no run has weights of regions, or subjects have other
        references or no group in common.
    """
    own = _weights_of(runs)
    groups = [group for group in _groups_of(own) if all(group in facts["groups"] for facts in own.values())]
    if not groups or len({facts["reference"] for facts in own.values()}) > 1:
        return {}
    first = next(iter(own.values()))
    regions = list(dict.fromkeys(region for facts in own.values() for region in facts["regions"]))

    def over(what: str) -> dict[str, Any]:
        return {
            group: {
                region: _over_subjects(own, region, group, what)
                for region in regions
                if any(region in facts["regions"] for facts in own.values())
            }
            for group in groups
        }

    def values(what: str) -> dict[str, dict[str, dict[str, float]]]:
        return {
            subject: {
                group: {
                    region: _of(facts["regions"][region], what)["differences"][group] for region in facts["regions"]
                }
                for group in groups
            }
            for subject, facts in own.items()
        }

    return {
        "reference": first["reference"],
        "groups": groups,
        "names": {group: GROUP_NAMES.get(group, group) for group in (first["reference"], *groups)},
        "n_voxels": {
            region: {s: f["regions"][region]["n_voxels"] for s, f in own.items() if region in f["regions"]}
            for region in regions
        },
        "n_runs": {subject: facts["n_runs"] for subject, facts in own.items()},
        "weights": over("weights"),
        "patterns": over("patterns"),
        "claims": _as_facts(weight_claims(values("weights"), np.random.default_rng(SHUFFLES))),
        "pattern_claims": _as_facts(weight_claims(values("patterns"), np.random.default_rng(SHUFFLES), "Patterns")),
    }


def _weights_of(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return subject → the facts of its weights, means over its runs, of subjects that have weights of regions."""
    with_weights = {
        subject: [run["weights"] for run in each if run.get("weights") and run["weights"]["regions"]]
        for subject, each in _by_subject(runs).items()
    }
    return {subject: _mean_weights(each) for subject, each in with_weights.items() if each}


def _mean_weights(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Average the differences of regions over the runs of one subject; p values of several runs have no mean."""
    if len(runs) == 1:
        return {**runs[0], "n_runs": 1}
    regions: dict[str, Any] = {}
    for region in dict.fromkeys(name for facts in runs for name in facts["regions"]):
        there = [facts["regions"][region] for facts in runs if region in facts["regions"]]
        regions[region] = {
            "n_voxels": round(_mean(each["n_voxels"] for each in there)),
            "differences": _mean_differences(there),
            "p": {},
            "p_contiguous": None,
            "patterns": {
                "differences": _mean_differences([each["patterns"] for each in there]),
                "p": {},
                "p_contiguous": None,
            },
        }
    return {**runs[0], "regions": regions, "n_runs": len(runs)}


def _mean_differences(there: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {group: _mean(each["differences"][group] for each in there) for group in there[0]["differences"]}


def _groups_of(own: Mapping[str, Any]) -> list[str]:
    """List the target groups of any subject that are compared with the reference, in order."""
    return list(dict.fromkeys(g for facts in own.values() for g in facts["groups"] if g != facts["reference"]))


def _lacking_weights(runs: Sequence[RunFacts]) -> list[str]:
    """Say which groups and subjects the comparison of weights (Figure 8) leaves out, if any."""
    own, subjects = _weights_of(runs), list(_by_subject(runs))
    if not own:
        return []
    references = {subject: facts["reference"] for subject, facts in own.items()}
    if len(set(references.values())) > 1:
        listed = ", ".join(f"{reference} ({subject})" for subject, reference in references.items())
        return [f"Weights of regions are not compared, since subjects have other groups as the reference: {listed}."]
    without = ", ".join(subject for subject in subjects if subject not in own)
    said = [f"Weights of regions are those of {', '.join(own)} alone, without {without}."] if without else []
    for group in _groups_of(own):
        lacking = [subject for subject, facts in own.items() if group not in facts["groups"]]
        if lacking:
            said.append(f"Weights of {group} are left out, since {', '.join(lacking)} did not predict it.")
    return said


def _over_subjects(own: Mapping[str, Any], region: str, group: str, what: str) -> dict[str, Any]:
    there = {s: _of(facts["regions"][region], what) for s, facts in own.items() if region in facts["regions"]}
    differences = {subject: entry["differences"][group] for subject, entry in there.items()}
    mean, sem = mean_and_sem(differences.values())
    p = {
        how: {subject: entry[how][group] for subject, entry in there.items() if group in (entry[how] or ())}
        for how in ("p", "p_contiguous")
    }
    return {"mean": mean, "sem": sem, "subjects": differences, **p}


def _of(region: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """Return what is known of a region's weights, or of its patterns, which have an entry of their own."""
    own: Mapping[str, Any] = region if what == "weights" else region["patterns"]
    return own


def accuracy(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return how well the features of each target group are decoded, by subject and over subjects.

    Of several runs of a subject the first is taken.

    Returns:
        Target group → "subjects" (name → "r2" and "correlation": value, low, high), and "r2" and "correlation": mean and standard
        error over subjects.
    """
    own = {subject: each[0]["accuracy"] for subject, each in _by_subject(runs).items()}
    found = {}
    for group in dict.fromkeys(group for facts in own.values() for group in facts):
        subjects = {subject: facts[group] for subject, facts in own.items() if group in facts}
        means = {
            what: list(mean_and_sem(each[what][0] for each in subjects.values())) for what in ("r2", "correlation")
        }
        found[group] = {"subjects": subjects, **means}
    return found


def generalisation(runs: Sequence[RunFacts], splits: Sequence[str]) -> dict[str, Any]:
    """Return each metric by split: mean over subjects of the mean over the runs that are averaged, and by subject.

    Returns:
        Metric's key → facts, "splits": split → "mean", "sem", "subjects" (name → value), "n_runs".
    """
    found = {}
    for key, entry in _metrics(runs).items():
        by_split = {}
        for split in splits:
            own = _by_subject([run for run in runs if run["averaged_as"] == split])
            values = {subject: _mean(run["metrics"][key]["value"] for run in each) for subject, each in own.items()}
            mean, sem = mean_and_sem(values.values())
            n_runs = sum(map(len, own.values()))
            by_split[split] = {"mean": mean, "sem": sem, "subjects": values, "n_runs": n_runs}
        found[key] = {**_facts(entry), "splits": by_split}
    return found


def _groups(runs: Sequence[RunFacts]) -> list[dict[str, Any]]:
    """List the analyses by groups of pictures that runs made."""
    return [
        {"subject": run["subject"], "split": run["split"], "label": label, "facts": facts}
        for run in runs
        for label, facts in run["groups"].items()
    ]


def _counts(run: RunFacts) -> list[str]:
    """Say which counts of a subject of NSD differ from the paper's."""
    if run["dataset"] != "nsd" or run["simulated"] or run["subject"] not in VOXELS:
        return []
    expected = {
        "voxels": VOXELS[run["subject"]],
        "training pictures": N_TRAIN,
        "test pictures": N_TEST,
        "sessions": SESSIONS,
    }
    return count_sentences(run["subject"], run["counts"], expected)


def _metrics(runs: Sequence[RunFacts]) -> dict[str, Mapping[str, Any]]:
    """Return the metrics that all runs have, by their keys, with what the first run says of them."""
    return {key: entry for key, entry in runs[0]["metrics"].items() if all(key in run["metrics"] for run in runs)}


def _left_out(runs: Sequence[RunFacts]) -> list[str]:
    """Say which metrics are left out, since not all runs have them."""
    labels = {key: entry["label"] for run in reversed(runs) for key, entry in run["metrics"].items()}
    said = []
    for key, label in labels.items():
        lacking = [f"{run['subject']}/{run['split']}" for run in runs if key not in run["metrics"]]
        if lacking:
            said.append(f"{label} ({key}) is left out, since it was not scored in {', '.join(lacking)}.")
    return said


def _facts(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("label", "higher_is_better", "chance", "is_low_level")}


def _by_subject(runs: Sequence[RunFacts]) -> dict[str, list[RunFacts]]:
    return {run["subject"]: [other for other in runs if other["subject"] == run["subject"]] for run in runs}


def _estimate(runs: Sequence[RunFacts], key: str) -> tuple[float, float | None, float | None]:
    """Return a subject's value with its interval over pictures; means over several runs have none."""
    entries = [run["metrics"][key] for run in runs]
    if len(entries) > 1:
        return _mean(entry["value"] for entry in entries), None, None
    low, high = entries[0]["ci95"] or (None, None)
    return entries[0]["value"], low, high


def _variants(runs: Sequence[RunFacts], key: str) -> list[str]:
    """List the whole method and the ablations that all runs have."""
    each = [set(run["metrics"][key]["ablations"]) for run in runs]
    return [FULL, *(name for name in runs[0]["metrics"][key]["ablations"] if all(name in own for own in each))]


def _variant(run: RunFacts, key: str, name: str) -> float:
    """Return the score of an ablation, or of the whole method on the pictures that the ablations were drawn for."""
    entry = run["metrics"][key]
    if name != FULL:
        return float(entry["ablations"][name])
    return float((entry.get("ablated") or entry)["value"])


def _mean(values: Iterable[float]) -> float:
    return mean_and_sem(values)[0]


def _as_facts(claims: Iterable[Claim]) -> list[dict[str, Any]]:
    return [
        {
            "text": claim.text,
            "verdict": claim.verdict,
            "sentence": claim.sentence,
            "fails_on": {subject: list(failed) for subject, failed in claim.of_subjects.items()},
            "tested": list(claim.tested),
            "n_held": claim.n_held,
            "shuffled": None if claim.shuffled is None else list(claim.shuffled),
        }
        for claim in claims
    ]
