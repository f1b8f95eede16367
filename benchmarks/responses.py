"""Memory and time of averaging a whole subject's betas, at the size of NSD's subject 1, streamed as the reader streams them.

    python benchmarks/responses.py [--json]

37 sessions × 750 trials × 15,724 voxels of random betas; 9,841 stimuli, of which 982 are shared. What users ran instead loads
all stimuli and a float64 copy of the training pictures: 73 GiB, by the sizes of its arrays (not run here).
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from braindiffuser.datasets.responses import ResponseAccumulator
from braindiffuser.store.draft import Draft

N_SESSIONS, N_TRIALS, N_VOXELS = 37, 750, 15_724
N_STIMULI, N_SHARED = 9_841, 982


def trial_table(rng: np.random.Generator) -> pd.DataFrame:
    """Show every stimulus three times in random order, and stop when the sessions are full."""
    shown = rng.permutation(np.repeat(np.arange(N_STIMULI), 3))[: N_SESSIONS * N_TRIALS]
    table = pd.DataFrame({"subject": "subj01", "session": np.repeat(np.arange(1, N_SESSIONS + 1), N_TRIALS)})
    table["trial"], table["stimulus_id"] = np.arange(len(shown)), shown
    table["repeat"] = table.groupby("stimulus_id").cumcount()
    table["split"] = np.where(shown < N_SHARED, "test", "train")
    return table


def sessions() -> Iterator[tuple[int, np.ndarray]]:
    """Yield random betas, a session at a time."""
    for session in range(1, N_SESSIONS + 1):
        yield session, np.random.default_rng(session).standard_normal((N_TRIALS, N_VOXELS), dtype=np.float32)


def main() -> None:
    """Average, with the state written after every session as a run does, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    accumulator = ResponseAccumulator(trial_table(np.random.default_rng(0)), N_VOXELS)
    seconds = {"averaging_s": 0.0, "writing_state_s": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        draft = Draft(Path(folder), "benchmark")
        for session, betas in sessions():
            started = time.perf_counter()
            accumulator.add(session, betas)
            seconds["averaging_s"] += time.perf_counter() - started
            started = time.perf_counter()
            draft.write_bundle("sums.npz", accumulator.state())
            seconds["writing_state_s"] += time.perf_counter() - started
    responses = accumulator.finish()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result = {name: round(value, 1) for name, value in seconds.items()}
    result |= {"peak_rss_gb": round(peak, 2), "n_train": len(responses.train), "n_test": len(responses.test)}
    print(json.dumps(result) if as_json else "\n".join(f"{name:20s} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
