"""Laws of some of many, evenly spaced."""

import numpy as np
import pytest

from braindiffuser.spacing import evenly_spaced


@pytest.mark.parametrize(("n", "wanted"), [(10, None), (10, 20), (10, 3), (982, 30), (101, 20), (5, 1), (0, 3)])
def test_few_pictures_are_evenly_spaced_from_the_first_to_the_last(n, wanted):
    found = evenly_spaced(n, wanted)
    assert len(found) == min(n, n if wanted is None else wanted)
    assert not len(found) or (found[0] == 0 and (len(found) == 1 or found[-1] == n - 1))
    steps = np.diff(found).tolist() or [1]
    assert min(steps) >= 1
    assert max(steps) - min(steps) <= 1
