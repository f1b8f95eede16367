"""What findings need of one finished run, read from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braindiffuser.experiment import Experiment
from braindiffuser.planned_runs.planned import PlannedRun
from braindiffuser.reproduction.plan import label_of_weights
from braindiffuser.run import Run
from braindiffuser.stages.evaluate import ablation_labels
from braindiffuser.store.results import Results
from braindiffuser.study.members import warnings_of_run


def run_facts(planned: PlannedRun, run: Run, page: str, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Read what findings need of one finished run.

    Args:
        planned: subject, split and experiment.
        run: that was made of it, without target groups that its recording cannot have.
        page: path of its page, below the folder of all runs.
        records: step → its record: the settings and files that it was made from.
    """
    results = run.results
    scores, subject = results.read_json("scores.json"), results.read_json("subject.json")
    profile = planned.experiment.evaluation.all_metrics()
    first, last = results.read_json("test_sets.json")["test"]
    analyses = {analysis.label: analysis.kind for analysis in planned.experiment.analyses}
    facts = {label: results.read_json(f"analyses/{label}.json") for label in analyses if _has(results, label)}

    def of_kind(kind: str) -> dict[str, Any]:
        return {label: facts[label] for label, own in analyses.items() if own == kind and label in facts}

    ablated = next((entry["ablated"]["n_images"] for entry in scores["metrics"].values() if entry.get("ablated")), None)
    return {
        "subject": planned.subject,
        "split": planned.setting.name,
        "averaged_as": planned.setting.averaged_as,
        "dataset": planned.experiment.dataset.kind,
        "simulated": bool(subject["simulated"]),
        "page": page,
        "uid": planned.experiment.uid,
        "warnings": warnings_of_run(results, records),
        "counts": {
            "voxels": int(results.read_json("voxels.json")["n_chosen"]),
            "training pictures": len(results.read_array("stimuli/train_ids")),
            "test pictures": last - first,
            "sessions": int(results.read_table("trials.csv")["session"].nunique()),
        },
        "n_ablated": ablated or last - first,
        "metrics": {
            key: {**entry, "is_low_level": profile.metrics[key].is_low_level}
            for key, entry in scores["metrics"].items()
        },
        "missing": scores["missing"],
        "notes": dict(profile.notes),
        "without": [group for group in planned.experiment.targets if group not in run.experiment.targets],
        "labels": ablation_labels(planned.experiment),
        "weights": facts.get(label_of_weights(planned.experiment) or ""),
        "accuracy": _accuracy(next(iter(of_kind("decoder_accuracy").values()), {})),
        "regions": of_kind("roi_maximisation"),
        "groups": of_kind("picture_groups"),
        "trained_on": trained_on(planned.experiment),
    }


def _accuracy(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return R² and correlation of each target group on the first test set: value, low, high."""
    found = {}
    for group, made in facts.get("groups", {}).items():
        scored = next(iter(made["sets"].values()))
        found[group] = {what: [scored[what]["value"], *scored[what]["ci95"]] for what in ("r2", "correlation")}
    return found


def _has(results: Results, label: str) -> bool:
    return (results.folder / "analyses" / f"{label}.json").is_file()


def trained_on(experiment: Experiment) -> dict[str, str]:
    """Return what each network of an experiment was trained on, from the card beside its checkpoint, by the folder's name."""
    said: dict[str, str] = {}
    for path in dict.fromkeys(experiment.checkpoints.values()):
        card = path / "card.md"
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        lines = text.split("- **Data**:", 1)[-1].split("\n- **", 1)[0] if "- **Data**:" in text else ""
        words = " ".join(lines.split()).replace("`", "")
        said[path.name] = words or "Its folder has no card that says what it was trained on."
    return said
