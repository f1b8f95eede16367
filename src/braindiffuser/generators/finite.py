"""The check that a network yields finite values, before later steps clip them or make whole numbers of them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from braindiffuser.errors import RunError


def check_finite(network: str, values: Float[torch.Tensor, "n ..."], picture_ids: Int[np.ndarray, " n"]) -> None:
    """Check what a network yields for each of n pictures.

    Raises:
        RunError: if a value is NaN or infinite; names the network and the first such picture by its id.
    """
    whole = values.isfinite().flatten(1).all(dim=1).cpu().numpy()
    if not whole.all():
        raise RunError(
            f"the {network} yields values that are not finite, first for the picture with id {picture_ids[~whole][0]}: if it "
            "computes in float16, set generator.diffusion.precision: full; otherwise check its checkpoint"
        )
