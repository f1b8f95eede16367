"""One experiment: a recording, target groups, a regressor, a generator, scores and analyses, with a file form and a hash.

Loading one imports no network library, so that a mistake in a file is reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from braindiffuser.analyses.analysis import Analysis
from braindiffuser.datasets.dataset import Dataset
from braindiffuser.datasets.normalisation import Normalisation
from braindiffuser.errors import RunError, command_line
from braindiffuser.generators.generator import Generator
from braindiffuser.metrics.profiles import AnyMetric, Profile, profile_names
from braindiffuser.part import Part, Seed, Settings, as_part, runtime, without_defaults
from braindiffuser.paths import written_in
from braindiffuser.plain_data import as_yaml, hash_json, read_yaml
from braindiffuser.regression.regressor import Regressor
from braindiffuser.splits.layout import Layout
from braindiffuser.splits.split import Split
from braindiffuser.targets.target import Target

if TYPE_CHECKING:
    from braindiffuser.datasets.recording import Recording

LARGEST_FILE = 10_000_000
"""Bytes of the largest file that is read as an experiment."""
RESERVED = re.compile("con|prn|aux|nul|(com|lpt)[0-9]")
"""Names that no file on Windows can have, whatever its suffix."""


def _file_name(name: str) -> str:
    if RESERVED.fullmatch(name):
        raise ValueError(f"{name} is the name of a device on Windows, and files are named so: choose another name")
    return name


EntryName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64), AfterValidator(_file_name)]
"""Name of a target group, which its files are named by, or of a further metric."""


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"cannot be written as text: {error}") from error
    return text


AnyDataset = Annotated[SerializeAsAny[Dataset], BeforeValidator(partial(as_part, Dataset))]
AnySplit = Annotated[SerializeAsAny[Split], BeforeValidator(partial(as_part, Split))]
AnyTarget = Annotated[SerializeAsAny[Target], BeforeValidator(partial(as_part, Target))]
AnyRegressor = Annotated[SerializeAsAny[Regressor], BeforeValidator(partial(as_part, Regressor))]
AnyGenerator = Annotated[SerializeAsAny[Generator], BeforeValidator(partial(as_part, Generator))]
AnyAnalysis = Annotated[SerializeAsAny[Analysis], BeforeValidator(partial(as_part, Analysis))]


class ResponsesConfig(Settings):
    """How betas become responses."""

    normalisation: Normalisation = Field(
        "session",
        description="How betas are z-scored. session or run: each by its training trials, then averages; session-all-trials: "
        "also by test trials where it holds no others; training (published): averages alone; none: not.",
    )
    rows: Literal["averages", "trials"] = Field(
        "averages", description="What decoders are fitted to: averages over a picture's repeats, or single trials."
    )
    rois: tuple[str, ...] = Field(
        (),
        description="Regions whose voxels are used, as expressions such as [V1-V3, faces & !V4]; [] uses the whole mask.",
    )
    min_noise_ceiling: float = Field(
        0.0,
        ge=0,
        lt=100,
        description="Leave out voxels with a lower noise ceiling (percent).",
    )
    voxel_choice: Literal["inductive", "transductive"] = Field(
        "inductive",
        description="Which noise ceilings min_noise_ceiling goes by. inductive: of training trials; transductive: those that the "
        "recording brings, in which test trials may be.",
    )
    noise_ceiling: Literal["pooled", "three-trials"] = Field(
        "pooled",
        description="Which pictures tell the noise of a voxel. pooled: all that were shown more than once; three-trials "
        "(published): those with exactly three trials.",
    )

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on; `voxel_choice` only where it is not inductive."""
        return without_defaults(self, super().influences(device), "voxel_choice")


def _none_or_several(n: object) -> object:
    whole = int(n) if isinstance(n, int | float) and not isinstance(n, bool) and n == n // 1 else None
    if n != "all" and (whole is None or whole < 0 or whole == 1):
        why = ", and one picture cannot be scored among others" if whole == 1 else ""
        raise ValueError(f"is {n!r}{why}: give 0, a whole number from 2, or all")
    return n


SomePictures: TypeAlias = Annotated[Annotated[int, Field(ge=0)] | Literal["all"], BeforeValidator(_none_or_several)]
"""How many pictures of each test set, evenly spaced; 0: none."""


class PicturesConfig(Settings):
    """Which pictures are drawn besides the reconstructions; each kind costs about as much as the reconstructions."""

    ceiling: bool = Field(
        True,
        description="Also draw from the stimuli's true features (the ceiling: what a perfect decoder would reach).",
    )
    ablations: Literal["default", "all"] | tuple[str, ...] = Field(
        "default",
        description="Ablations to draw: default (the generator's own choice), all (published, Table 2), or a list of names; "
        "[] for none.",
    )
    n_ablated: int | None = Field(
        None,
        ge=2,
        description="How many pictures of each test set the ablations are drawn for and compared on, evenly spaced; null: all.",
    )
    n_recovered: SomePictures = Field(
        0,
        description="How many pictures of each test set are also drawn from one branch of their true features alone (latents, "
        "vision, text …), evenly spaced; 0: none, or all.",
    )
    n_samples: PositiveInt = Field(
        1,
        description="How many pictures are drawn of each response, each with other noise; the first is the reconstruction, whose "
        "scores are those of the run.",
    )
    n_sampled: SomePictures = Field(
        "all",
        description="How many pictures of each test set have several samples, if n_samples is above 1, evenly spaced; 0: none, "
        "or all.",
    )
    n_random_responses: SomePictures = Field(
        0,
        description="For how many pictures of each test set, evenly spaced, random responses of the training covariance are "
        "decoded and drawn too; 0: none, or all.",
    )

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on; those that were added later only where they are given."""
        later = ("n_ablated", "n_recovered", "n_samples", "n_sampled", "n_random_responses")
        return without_defaults(self, super().influences(device), *later)


class EvaluationConfig(Settings):
    """How reconstructions are scored."""

    profile: str = Field(
        "demo",
        description="Named list of metrics: demo, recommended, pixels, or as a paper scores: brain-diffuser-2023, mindeye-2023, "
        "mindeye2-2024 (of blends), takagi-2023.",
        json_schema_extra={"enum": list[Any](profile_names())},
    )
    metrics: dict[EntryName, AnyMetric] = Field({}, description="Further metrics by name, after those of the profile.")
    category: str = Field(
        "category",
        description="Column of the table of stimuli whose value the baseline category_only takes, and within which decoded "
        "features are identified; without it both are left out.",
    )
    n_resamples: PositiveInt = Field(
        2000,
        description="Random permutations of the test pictures behind each p value; 20 for each metric at least, since fewer "
        "could show nothing.",
    )

    @model_validator(mode="after")
    def _known(self) -> EvaluationConfig:
        try:
            self.all_metrics()
        except RunError as error:
            raise ValueError(str(error)) from error
        return self

    def influences(self, device: str) -> dict[str, Any]:
        """Return all entries that results depend on, with the facts of every metric; `category` only where it is given."""
        metrics = {name: metric.influences(device) for name, metric in self.all_metrics().metrics.items()}
        return {**without_defaults(self, super().influences(device), "category"), "metrics": metrics}

    def all_metrics(self) -> Profile:
        """Return the profile with the further metrics."""
        return Profile.load(self.profile).with_metrics(self.metrics)


class Experiment(Settings):
    """Everything that a run's results depend on.

    Example:
        >>> experiment = Experiment.load("demo")
        >>> experiment.targets["latents"].n_layers
        9
    """

    name: Annotated[str, AfterValidator(_writable)] = Field(description="Name of the experiment, as the page shows it.")
    seed: Seed = Field(0, description="Seed of all randomness except that of a simulated recording (dataset.seed).")
    device: str = runtime("cpu", description="Where networks and regressions compute: cpu, cuda, cuda:1 and so on.")
    dataset: AnyDataset = Field(description="The recording: betas, pictures and captions of one subject.")
    split: AnySplit = Field(Layout(), description="Which stimuli train and which test.")
    responses: ResponsesConfig = Field(ResponsesConfig(), description="How betas become responses.")
    targets: dict[EntryName, AnyTarget] = Field(
        min_length=1, description="Target groups by name: what decoders predict."
    )
    regression: AnyRegressor = Field(description="How decoders are fitted.")
    generator: AnyGenerator = Field(description="How pictures are drawn from decoded features.")
    pictures: PicturesConfig = Field(PicturesConfig(), description="What is drawn besides the reconstructions.")
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="How reconstructions are scored.")
    analyses: tuple[AnyAnalysis, ...] = Field(
        (), description="Analyses of the finished run; each adds a section to the page."
    )

    @model_validator(mode="after")
    def _fits(self) -> Experiment:
        lacking = [name for name in self.generator.uses if name not in self.targets]
        if lacking:
            raise ValueError(
                f"generator {self.generator.kind} draws from {', '.join(self.generator.uses)}; targets lack {', '.join(lacking)}"
            )
        self.regression.check_groups(tuple(self.targets))
        named = self.pictures.ablations if isinstance(self.pictures.ablations, tuple) else ()
        unknown = sorted(set(named) - self.generator.ablations.keys())
        if unknown:
            raise ValueError(
                f"pictures.ablations: generator {self.generator.kind} has no {unknown[0]}; "
                f"it has {', '.join(self.generator.ablations) or 'none'}"
            )
        self.regression.check_rows(self.responses.rows)
        self._check_ablated()
        for analysis in self.analyses:
            analysis.check_groups(self.generator.uses)
        labels = [analysis.label for analysis in self.analyses]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"analyses: two analyses are called {twice[0]}: give one another `name`")
        return self

    def _check_ablated(self) -> None:
        """Check that ablations are drawn for as many pictures as each metric needs, since they are scored among themselves."""
        n = self.pictures.n_ablated
        if n is None or not self.ablations:
            return
        for key, metric in self.evaluation.all_metrics().metrics.items():
            if metric.fewest_pictures > n:
                raise ValueError(
                    f"pictures.n_ablated is {n}, but {key} needs {metric.fewest_pictures} pictures or more: raise it, or "
                    "choose another evaluation.profile"
                )

    @property
    def ablations(self) -> dict[str, str]:
        """Name of each ablation that is drawn → the generator's variant."""
        named = self.pictures.ablations
        words = {"default": self.generator.default_ablations, "all": tuple(self.generator.ablations)}
        wanted = named if isinstance(named, tuple) else words[named]
        return {name: variant for name, variant in self.generator.ablations.items() if name in wanted}

    @property
    def parts(self) -> dict[str, Part]:
        """All parts by the dotted name of their entry; analyses by their label."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            **{f"targets.{name}": target for name, target in self.targets.items()},
            "regression": self.regression,
            "generator": self.generator,
            **{f"evaluation.metrics.{name}": metric for name, metric in self.evaluation.metrics.items()},
            **{f"analyses.{analysis.label}": analysis for analysis in self.analyses},
        }

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules of one's own that parts are classes of, each once: what `--with` names."""
        kinds = (part.kind for part in self.parts.values() if ":" in part.kind)
        return tuple(dict.fromkeys(kind.partition(":")[0] for kind in kinds))

    def recording(self, made: Path) -> Recording:
        """Open the recording and divide its stimuli; the layout's own split is opened only if it is what divides them.

        Args:
            made: folder that the dataset's `make` wrote to; ignored unless it makes files.

        Raises:
            RecordingError: a file is missing, damaged, or does not fit the others, or stimuli cannot be divided so.
        """
        dataset = self.dataset if self.split.takes_layouts_own else self.dataset.without_split()
        return self.split.divide(dataset.recording(made))

    @property
    def checkpoints(self) -> dict[str, Path]:
        """Checkpoint folders of all parts, by the dotted name of their entry."""
        parts = self.parts.items()
        return {f"{name}.{entry}": folder for name, part in parts for entry, folder in part.checkpoints.items()}

    @property
    def reads_captions(self) -> bool:
        """Whether a target group is made of captions."""
        return any("captions" in target.reads for target in self.targets.values())

    def without_captions(self) -> Experiment:
        """Return the experiment without target groups that are made of captions, for recordings that have none.

        Raises:
            RunError: if the generator draws from such a group and has no form without.
        """
        of_captions = [name for name, target in self.targets.items() if "captions" in target.reads]
        if not of_captions:
            return self
        try:
            generator = self.generator.without(of_captions)
        except ValueError as error:
            raise RunError(f"the recording has no captions, and {error}, or give the recording captions") from error
        named = self.pictures.ablations
        left = named if not isinstance(named, tuple) else tuple(name for name in named if name in generator.ablations)
        return Experiment(
            **{name: getattr(self, name) for name in ("name", "seed", "device", "dataset", "split", "responses")},
            targets={name: target for name, target in self.targets.items() if name not in of_captions},
            regression=self.regression.without(of_captions),
            generator=generator,
            pictures=self.pictures.model_copy(update={"ablations": left}),
            evaluation=self.evaluation,
            analyses=self.analyses,
        )

    def with_analysis(self, name: str, entries: Mapping[str, Any] | None = None) -> Experiment:
        """Return the experiment with one analysis more, or with other entries of one that it has.

        Args:
            name: label of an analysis of the experiment, or a kind, which also means the analysis of that kind, if there is one.
            entries: of the analysis; those of an analysis that is there already are merged into its own. `name` says which one
                of a kind is meant: it is added if there is none of that name.

        Raises:
            RunError: if there is no such kind, an entry is unknown or out of range, or entries ask for another kind, or for
                another name of an analysis that is named.

        Example:
            >>> demo = Experiment.load("demo").with_analysis("roi_maximisation", {"lengths": "as-published"})
            >>> [analysis.lengths for analysis in demo.analyses if analysis.kind == "roi_maximisation"]
            ['as-published']
        """
        entries = dict(entries or {})
        changed = [analysis.model_dump() for analysis in self.analyses]
        place = self._place_of_analysis(name, entries)
        kind = name if place is None else changed[place]["kind"]
        if entries.get("kind", kind) != kind:
            raise RunError(
                f"kind={entries['kind']} makes another analysis of {name}: name the kind instead, as in "
                f"{command_line('analyse', entries['kind'], '--out', 'RUN')}"
            )
        if place is None:
            changed.append({**entries, "kind": name})
        else:
            changed[place] = merged(changed[place], entries)
        return self.changed({"analyses": changed})

    def without_analysis(self, name: str) -> Experiment:
        """Return the experiment without one of its analyses.

        Args:
            name: label of an analysis, or its kind, if there is one of that kind.

        Raises:
            RunError: if it has no such analysis.
        """
        place = self._place_of_analysis(name, {})
        if place is None:
            labels = ", ".join(analysis.label for analysis in self.analyses)
            raise RunError(f"the experiment has no analysis {name}; it has {labels or 'none'}: name one of them")
        left = [analysis.model_dump() for number, analysis in enumerate(self.analyses) if number != place]
        return self.changed({"analyses": left})

    def analysis(self, name: str, entries: Mapping[str, Any] | None = None) -> Analysis | None:
        """Return the analysis that a label or kind means, or that entries name with it; None if there is none, or several."""
        place = self._place_of_analysis(name, entries or {})
        return None if place is None else self.analyses[place]

    def _place_of_analysis(self, name: str, entries: Mapping[str, Any]) -> int | None:
        """Return which analysis a label or kind and a `name` among entries mean; None: one that is not there yet."""
        labels = [analysis.label for analysis in self.analyses]
        if name not in labels or name == self.analyses[labels.index(name)].kind:
            of_kind = [place for place, analysis in enumerate(self.analyses) if analysis.kind == name]
            if "name" in entries:
                wanted = entries["name"] or name
                return next((place for place in of_kind if labels[place] == wanted), None)
            if name not in labels:
                return of_kind[0] if len(of_kind) == 1 else None
        if entries.get("name", name) != name:
            kind, wanted = self.analyses[labels.index(name)].kind, f"name={entries['name']}"
            raise RunError(
                f"{name} is an analysis of the experiment, and results keep its name: to add another one, name its kind, as in "
                f"{command_line('analyse', kind, '--set', wanted, '--out', 'RUN')}"
            )
        return labels.index(name)

    @classmethod
    def load(cls, source: str | Path) -> Experiment:
        """Read an experiment from a YAML file, or a bundled preset by its name.

        A file may begin from a preset (`preset: brain-diffuser`) and state only what differs. Its relative paths count from
        its own folder.

        Raises:
            RunError: if there is no such preset or file, it is no YAML, a key is given twice, or an entry is unknown or out of
                range; the message lists all faults.
        """
        content, file = _read(source), Path(source)
        if not isinstance(content, Mapping):
            raise RunError(f"{source} is not an experiment: it holds no entries, such as preset: demo")
        own_paths = written_in(file) if file.is_file() else nullcontext()
        try:
            if "preset" not in content:
                with own_paths:
                    return cls.model_validate(content)
            preset, known = content["preset"], preset_names()
            if preset not in known:
                found = "empty" if preset is None else preset
                raise RunError(f"{source} is not an experiment: preset must be {' or '.join(known)}, but is {found}")
            changes = {key: value for key, value in content.items() if key != "preset"}
            begun = cls.model_validate(_read_preset(preset))
            with own_paths:
                return begun._changed(changes)
        except ValidationError as error:
            raise RunError(f"{source} is not an experiment: {list_faults(error, str(source))}") from error

    def changed(self, changes: Mapping[str, Any]) -> Experiment:
        """Return a validated copy with some entries changed.

        Args:
            changes: nested as the experiment is, such as {"dataset": {"subject": 2}}. A part of another kind replaces the
                one that was there; None removes an entry, so its default applies.

        Raises:
            RunError: if an entry is unknown or out of range; the message lists all faults.

        Example:
            >>> Experiment.load("demo").changed({"responses": {"normalisation": "training"}}).responses.normalisation
            'training'
        """
        try:
            return self._changed(changes)
        except ValidationError as error:
            raise RunError(list_faults(error)) from error

    def _changed(self, changes: Mapping[str, Any]) -> Experiment:
        return Experiment.model_validate(merged(self.model_dump(), changes))

    def to_yaml(self) -> str:
        """Return the experiment as YAML that `load` reads back to an equal one."""
        return as_yaml(self.model_dump(mode="json"))

    @property
    def uid(self) -> str:
        """NAME-xxxxxxxx: the name and a hash of all settings that results depend on; of checkpoints only names enter.

        Where folders lie does not: of an absolute path the last name enters.
        """
        content = {key: value for key, value in self.influences(self.device).items() if key != "name"}
        parts = self.parts.items()
        folders = {f"{name}.{entry}": getattr(part, entry) for name, part in parts for entry in part.folder_entries}
        named = {entry: path.name if path.is_absolute() else path.as_posix() for entry, path in folders.items()}
        return f"{self.name}-{hash_json([content, named])[:8]}"


def _read(source: str | Path) -> Any:
    path = Path(source)
    is_preset = str(source) in preset_names() and not path.is_file()
    if is_preset or not path.exists():
        return _read_preset(str(source))
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no ordinary file"
        raise RunError(f"{source} is {what}: name an experiment file or a preset ({', '.join(preset_names())})")
    if path.stat().st_size > LARGEST_FILE:
        raise RunError(
            f"{source} is not an experiment: it has {path.stat().st_size / 1e6:,.0f} MB, and an experiment file a few kB: "
            "name another file"
        )
    return _parse(path.read_bytes(), str(source))


def _read_preset(name: str) -> Any:
    if name not in preset_names():
        raise RunError(f"there is no file {name} and no preset of that name; presets: {', '.join(preset_names())}")
    return _parse((files("braindiffuser") / "presets" / f"{name}.yaml").read_bytes(), name)


def _parse(content: bytes, source: str) -> Any:
    try:
        return read_yaml(content)
    except ValueError as error:
        raise RunError(f"{source} is not an experiment: it cannot be read: {error}") from error


_KIND_OF_VALUE = re.compile(r"(function-\w+|literal|tuple|dict|list|constrained|nullable)[-\[].*|int|str|float|bool")
"""What pydantic puts into the place of a fault where an entry may be of several kinds."""


def list_faults(error: ValidationError, source: str = "") -> str:
    """Join validation errors in one line, each after its entry; those of the whole after `source`.

    What is wrong with an entry that may be of several kinds, by each of them, is said together.
    """
    said: dict[str, list[str]] = {}
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"] if not _KIND_OF_VALUE.fullmatch(str(part))) or source
        said.setdefault(place, []).append(fault["msg"].removeprefix("Value error, "))
    faults = [(place, ", or ".join(dict.fromkeys(messages))) for place, messages in said.items()]
    return "; ".join(f"{place}: {message}" if place else message for place, message in faults)


def merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes into nested entries; another `kind` replaces the mapping, None removes the entry.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    >>> merged({"a": {"kind": "nsd", "b": 1}}, {"a": {"kind": "simulated"}})
    {'a': {'kind': 'simulated'}}
    >>> merged({"a": {"b": {"kind": "vdvae"}, "c": 2}}, {"a": {"b": None}})
    {'a': {'c': 2}}
    """
    result = dict(content)
    for key, value in changes.items():
        below = content.get(key)
        if value is None and key in content:
            del result[key]
        elif (
            isinstance(value, Mapping) and isinstance(below, Mapping) and value.get("kind") in (None, below.get("kind"))
        ):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def preset_names() -> list[str]:
    """Names of the bundled presets."""
    return sorted(entry.name.removesuffix(".yaml") for entry in (files("braindiffuser") / "presets").iterdir())
