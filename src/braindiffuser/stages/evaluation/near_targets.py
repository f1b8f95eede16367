"""Features of one target group, by which pictures of a run are near to each other."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float64

from braindiffuser.experiment import Experiment
from braindiffuser.stages import StageContext


def nearest_group(experiment: Experiment) -> str:
    """Return the target group by whose features training pictures are near.

    It is the first group made of pictures that the whole method's last step draws from (CLIP's vision tokens of Brain-Diffuser);
    if that draws from none, the first such group of the generator; if there is none either, the first of all that it draws from.
    """
    generator, targets = experiment.generator, experiment.targets
    groups = dict.fromkeys((*generator.groups_of("full"), *generator.uses, *targets))
    return next((group for group in groups if "stimuli" in targets[group].reads), next(iter(groups)))


N_NEIGHBOURS = 5
"""Number of neighbours shown for each test picture."""


def decoded_neighbours(context: StageContext) -> dict[int, tuple[int, ...]]:
    """Return the number of each test picture → the numbers of those of its test set that its decoded features resemble most.

    Features are those of `nearest_group`: decoded ones are correlated with the true ones of all pictures that were shown in the
    set, after subtracting the training mean. The right picture comes first where it is identified.
    """
    from braindiffuser.metrics.nearest_rows import several_nearest_rows

    near = NearTargets(context)
    truth = context.results.open_array(f"truth/{near.group}")
    found: dict[int, tuple[int, ...]] = {}
    for start, stop in context.results.read_json("test_sets.json").values():
        decoded, true = (np.asarray(values[start:stop]) for values in (near.decoded, truth))
        places = several_nearest_rows(decoded, true, N_NEIGHBOURS, near.mean)
        found |= {start + row: tuple((start + own).tolist()) for row, own in enumerate(places)}
    return found


class NearTargets:
    """Targets and decoded features of the group by whose features pictures are near.

    Attributes:
        group: its name.
        targets: features of the training stimuli (n_train, …), on disk.
        decoded: those decoded from test responses (n_test, …), on disk.
    """

    def __init__(self, context: StageContext) -> None:
        """Open both arrays."""
        self.group = nearest_group(context.experiment)
        self.targets = context.results.open_array(f"targets/{self.group}")
        self.decoded = context.results.open_array(f"predictions/{self.group}")

    @cached_property
    def mean(self) -> Float64[np.ndarray, " n_targets"]:
        """Mean of the targets, flattened."""
        from braindiffuser.metrics.nearest_rows import mean_row

        return mean_row(self.targets)
