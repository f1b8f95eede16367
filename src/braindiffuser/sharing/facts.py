"""What a shared decoder says of itself, as JSON in the header of its file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from braindiffuser.datasets.normalisation import Normalisation

FORMAT: Literal["braindiffuser-shared-decoder-1"] = "braindiffuser-shared-decoder-1"

GroupName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""Name of a target group; arrays of the file are named by it."""
Text: TypeAlias = Annotated[str, Field(max_length=2000)]


class Facts(BaseModel):
    """Frozen facts that hold what they declare and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(Facts):
    """A score with its 95 % interval, None if it has none."""

    value: float
    ci95: tuple[float, float] | None = None


class OnTestSet(Facts):
    """How a shared decoder differs from the whole one on a test set of the run.

    Attributes:
        n_images: of the test set.
        difference: Σ (shared − whole)² / Σ (whole − its mean)² over pictures and targets of decoded features, each target in
            units of the standard deviation of its training targets.
        whole: two-way identification of features by the whole decoder, None if the set is too small.
        shared: the same by the shared one.
    """

    n_images: PositiveInt
    difference: Annotated[float, Field(ge=0)]
    whole: Estimate | None = None
    shared: Estimate | None = None


class OfTargets(Facts):
    """How a share is distributed over the targets of a group.

    Attributes:
        median: half of the targets have less.
        ninth_decile: nine of ten have less.
    """

    median: Annotated[float, Field(ge=0)]
    ninth_decile: Annotated[float, Field(ge=0)]


class GroupFacts(Facts):
    """Facts of one target group.

    Attributes:
        shape: of one stimulus' features.
        alpha: the ridge penalty.
        rank: number of directions.
        lost: share of the variance of training predictions that is lost, with what rounding takes; each target in units of the
            standard deviation of its training targets.
        lost_of_targets: the same share of each target's own variance.
        wanted: largest share that was to be lost.
        limited: whether more is lost, since the limit on rank was reached.
        test_sets: test set → difference from the whole decoder.
    """

    shape: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=8)]
    alpha: Annotated[float, Field(ge=0)]
    rank: PositiveInt
    lost: Annotated[float, Field(ge=0)]
    lost_of_targets: OfTargets
    wanted: Annotated[float, Field(ge=0)]
    limited: bool
    test_sets: dict[Text, OnTestSet]


class VoxelFacts(Facts):
    """Which voxels responses are of, in their order.

    Attributes:
        n: number of them.
        fingerprint: of subject, places and choice, as the run and its export state it.
        space: label of the space that they lie in.
        regions: expressions that they were chosen by; none: all analysed voxels.
        min_noise_ceiling: smallest noise ceiling in percent.
    """

    n: PositiveInt
    fingerprint: Text
    space: Text
    regions: tuple[Text, ...]
    min_noise_ceiling: float


class ResponseFacts(Facts):
    """What the decoder was fitted to.

    Attributes:
        normalisation: as the experiment says.
        rows: averages over a picture's repeats, or single trials.
        n_stimuli: number of training stimuli.
        mean_repeats: mean number of trials in a row.
    """

    normalisation: Normalisation
    rows: Literal["averages", "trials"]
    n_stimuli: PositiveInt
    mean_repeats: Annotated[float, Field(ge=1)]


class Terms(Facts):
    """Terms of the data, as the catalogue of open data states them."""

    licence: Text
    terms: Text
    page: Text


class PictureScore(Facts):
    """A score of the run's pictures, drawn from the whole decoder's features; a share is printed in percent."""

    label: Text
    is_share: bool
    higher_is_better: bool
    score: Estimate


class PictureScores(Facts):
    """Scores of the pictures of one test set, by a profile."""

    profile: Text
    n_images: PositiveInt
    metrics: dict[Text, PictureScore]


class Origin(Facts):
    """Where the decoder is from.

    Attributes:
        version: of the package that made it.
        run: hash of the results that it was made of.
        name: of the experiment.
        subject: its name, empty if it has none.
        recording: kind of the data set.
        simulated: whether nobody was scanned.
        terms: of the data; None if they are not known.
        licence: that the decoder is shared under, as model hubs name it.
    """

    version: Text
    run: Text
    name: Text
    subject: Text
    recording: Text
    simulated: bool
    terms: Terms | None
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+-]{1,64}$")]


class DecoderFacts(Facts):
    """All facts of a shared decoder.

    Attributes:
        format: of the file.
        origin: where it is from.
        voxels: which voxels it decodes.
        responses: what it was fitted to.
        calibration: that is folded in.
        precision: in which large arrays are stored.
        groups: target group → facts.
        scores: test set → scores of the run's pictures.
        generator: entries of the generator that draws from the features; None if it cannot travel.
        seed: of the noise of pictures.
    """

    format: Literal["braindiffuser-shared-decoder-1"] = FORMAT
    origin: Origin
    voxels: VoxelFacts
    responses: ResponseFacts
    calibration: Literal["inductive", "none"]
    precision: Literal["float16", "float32"]
    groups: Annotated[dict[GroupName, GroupFacts], Field(min_length=1)]
    scores: dict[Text, PictureScores]
    generator: dict[str, Any] | None
    seed: NonNegativeInt
