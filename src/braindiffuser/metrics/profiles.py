"""Profiles: named lists of metrics, as YAML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache, partial
from importlib.resources import files
from math import isfinite
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from braindiffuser.errors import RunError
from braindiffuser.metrics.blend import Blend
from braindiffuser.metrics.metric import FeatureMetric, Metric, PixelMetric
from braindiffuser.part import Settings, as_part
from braindiffuser.plain_data import read_yaml

_FOLDER = files("braindiffuser") / "profiles"

AnyMetric: TypeAlias = Annotated[SerializeAsAny[Metric], BeforeValidator(partial(as_part, Metric))]
"""A metric, or the mapping with its kind that a YAML file has."""


class Profile(Settings):
    """Metrics by their keys, in the order of tables. The same number has the same key in every profile.

    Example:
        >>> profile = Profile.load("demo")
        >>> list(profile.metrics)[:2]
        ['pixcorr', 'ssim']
        >>> profile.layers["efficientnet_lite0"]
        ('early', 'middle', 'last')
    """

    name: str = Field(description="Name of the profile.")
    metrics: dict[str, AnyMetric] = Field(description="Metrics by the key that scores have in files and code.")
    headlines: tuple[str, ...] = Field(
        (), description="Keys of the metrics that the page prints large; none: the first four."
    )
    notes: dict[str, str] = Field(
        {}, description="What a reader of the page must know of these metrics: title and text."
    )
    prints: dict[str, str] = Field(
        {},
        description="Name under which the paper's table prints a metric, such as SSIM, and its key; {}: all by their labels.",
    )
    blend: Blend | None = Field(
        None,
        description="Blend with blurry reconstructions that the metrics are of; null: of the reconstructions as they are.",
    )

    @model_validator(mode="after")
    def _can_be_computed(self) -> Profile:
        for key, metric in self.metrics.items():
            if not isinstance(metric, PixelMetric | FeatureMetric):
                raise ValueError(f"metric {key} ({metric.kind}) derives from neither PixelMetric nor FeatureMetric")
            if not hasattr(metric, "bounds"):
                raise ValueError(
                    f"metric {key} ({metric.kind}) has no bounds: declare them, for example bounds = (0.0, 1.0)"
                )
            numbers = (*metric.bounds, *(() if metric.chance is None else (metric.chance,)))
            low, high = min(numbers), max(numbers)
            if not all(map(isfinite, numbers)) or tuple(metric.bounds) != (low, high) or low == high:
                raise ValueError(
                    f"metric {key} ({metric.kind}) has bounds {metric.bounds} and chance {metric.chance}: give finite numbers, "
                    "the smaller bound first and chance between them; a score without bound can be turned into one that has them"
                )
        unknown = [key for key in self.headlines if key not in self.metrics]
        if unknown:
            raise ValueError(f"headlines: there is no metric {unknown[0]}; there are {', '.join(self.metrics)}")
        unknown = [key for key in self.prints.values() if key not in self.metrics]
        if unknown:
            raise ValueError(f"prints: there is no metric {unknown[0]}; there are {', '.join(self.metrics)}")
        return self

    @classmethod
    def load(cls, name: str) -> Profile:
        """Read one of the package's profiles.

        Raises:
            RunError: if there is none of that name; lists the known ones.
        """
        if name not in profile_names():
            raise RunError(f"there is no profile {name}, choose one of {', '.join(profile_names())}")
        return _read(name)

    def with_metrics(self, extra: Mapping[str, Metric]) -> Profile:
        """Return the profile with further metrics after its own.

        Raises:
            RunError: if a key is already used.
        """
        taken = [key for key in extra if key in self.metrics]
        if taken:
            raise RunError(f"the profile {self.name} has metrics {', '.join(taken)} already: give yours other keys")
        return self.model_copy(update={"metrics": {**self.metrics, **extra}})

    def without(self, networks: Collection[str]) -> Profile:
        """Return the profile without the metrics that need one of these networks."""
        return self.limited_to(
            key
            for key, metric in self.metrics.items()
            if not (isinstance(metric, FeatureMetric) and metric.network in networks)
        )

    def limited_to(self, keys: Iterable[str]) -> Profile:
        """Return the profile with the metrics of these keys alone, in its own order."""
        chosen = set(keys)
        kept = {key: metric for key, metric in self.metrics.items() if key in chosen}
        headlines = tuple(key for key in self.headlines if key in kept)
        prints = {name: key for name, key in self.prints.items() if key in kept}
        return self.model_copy(update={"metrics": kept, "headlines": headlines, "prints": prints})

    @property
    def printed(self) -> dict[str, str]:
        """Name of every metric as a table prints it → its key: those of `prints`, then all others by their labels.

        Example:
            >>> Profile.load("brain-diffuser-2023").printed["SSIM"]
            'ssim_column_mean'
        """
        others = {metric.label: key for key, metric in self.metrics.items() if key not in self.prints.values()}
        return {**self.prints, **others}

    @property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """Layers that the metrics need, by network."""
        needed: dict[str, tuple[str, ...]] = {}
        for metric in self.metrics.values():
            if isinstance(metric, FeatureMetric):
                layers = needed.get(metric.network, ())
                needed[metric.network] = layers if metric.layer in layers else (*layers, metric.layer)
        return needed


@cache
def _read(name: str) -> Profile:
    return Profile.model_validate(read_yaml((_FOLDER / f"{name}.yaml").read_bytes()))


def profile_names() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir())
