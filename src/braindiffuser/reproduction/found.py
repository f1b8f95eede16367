"""From the numbers of finished runs to what is found: the content of `findings.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from braindiffuser.reproduction.claims import (
    FULL,
    Claim,
    Metric,
    ablation_claims,
    count_sentences,
    mean_and_sem,
    position,
    weight_claims,
)
from braindiffuser.reproduction.published import N_TEST, N_TRAIN, SESSIONS, TABLE_1, TABLE_2, VOXELS

RunFacts = Mapping[str, Any]
"""What is read of one run: see `runs_facts.run_facts`."""


def findings(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Put the numbers of all runs together.

    Args:
        runs: subject by subject, split by split; the first split is the replication, all others generalise.

    Returns:
        "subjects"; "splits" (names; those that are averaged have one); "unexpected" (sentences on counts); "scores", "ablations",
        "weights" and "regions" of the first split; "generalisation"; "groups"; and "runs", as given.

    Raises:
        ValueError: if there is no run.
    """
    if not runs:
        raise ValueError("there is no run to find anything in: run one or more subjects")
    splits = list(dict.fromkeys(run["together"] for run in runs))
    main = [run for run in runs if run["together"] == splits[0]]
    return {
        "subjects": list(dict.fromkeys(run["subject"] for run in runs)),
        "splits": splits,
        "unexpected": [sentence for run in main for sentence in _counts(run)],
        "scores": table_1(main),
        "ablations": table_2(main),
        "weights": figure_8(main),
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
            },
        }
    return found


def table_2(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return the scores of the whole method and of each ablation, and what they say of the paper's claims.

    Returns:
        "n_images" (test pictures of each subject that the ablations were drawn of), "metrics" (key → facts, "subjects": name →
        variant → value, "mean" and "sem": variant → number, "original": variant → value) and "claims".
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
    known = [Metric(key, entry["label"], entry["higher_is_better"]) for key, entry in drawn.items()]
    return {
        "n_images": {subject: each[0]["n_ablated"] for subject, each in by_subject.items()},
        "metrics": drawn,
        "claims": _as_facts(ablation_claims(scores, known)),
    }


def figure_8(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return how far weights of each group exceed those of the reference, region by region, over subjects.

    Returns:
        "reference" (a group), "groups", "n_voxels" (region → subject → voxels), "weights" and "patterns" (group → region →
        "mean", "sem", "subjects": name → difference, "p": name → share of random regions of equal size that differ as much),
        "claims" on the weights, and "pattern_claims" on the patterns; {} if no run has them.
    """
    own = {
        subject: each[0]["weights"]
        for subject, each in _by_subject(runs).items()
        if each[0].get("weights") and each[0]["weights"]["regions"]
    }
    if not own:
        return {}
    first = next(iter(own.values()))
    groups = [group for group in first["groups"] if group != first["reference"]]
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
        "n_voxels": {
            region: {s: f["regions"][region]["n_voxels"] for s, f in own.items() if region in f["regions"]}
            for region in regions
        },
        "weights": over("weights"),
        "patterns": over("patterns"),
        "claims": _as_facts(weight_claims(values("weights"))),
        "pattern_claims": _as_facts(weight_claims(values("patterns"), "Patterns")),
    }


def _over_subjects(own: Mapping[str, Any], region: str, group: str, what: str) -> dict[str, Any]:
    there = {s: _of(facts["regions"][region], what) for s, facts in own.items() if region in facts["regions"]}
    differences = {subject: entry["differences"][group] for subject, entry in there.items()}
    mean, sem = mean_and_sem(differences.values())
    p = {subject: entry["p"][group] for subject, entry in there.items()}
    return {"mean": mean, "sem": sem, "subjects": differences, "p": p}


def _of(region: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """Return what is known of a region's weights, or of its patterns, which have an entry of their own."""
    own: Mapping[str, Any] = region if what == "weights" else region["patterns"]
    return own


def generalisation(runs: Sequence[RunFacts], splits: Sequence[str]) -> dict[str, Any]:
    """Return each metric by split: mean over subjects of the mean over the runs that are averaged, and by subject.

    Returns:
        Metric's key → facts, "splits": split → "mean", "sem", "subjects" (name → value), "n_runs".
    """
    found = {}
    for key, entry in _metrics(runs).items():
        by_split = {}
        for split in splits:
            own = _by_subject([run for run in runs if run["together"] == split])
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


def _facts(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("label", "higher_is_better", "chance")}


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
    """Return the score of an ablation, or of the whole method on the pictures that the ablations were drawn of."""
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
        }
        for claim in claims
    ]
