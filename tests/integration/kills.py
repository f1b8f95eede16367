"""Runs that are killed at a chosen moment, as by `kill -9`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

ITSELF = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
sys.path.append(sys.argv[4])
import fakes
from braindiffuser.files import replacing
from braindiffuser.store import checked_json
from braindiffuser.store.draft import Draft
from braindiffuser.experiment import Experiment
from braindiffuser.run import Run

folder, source, moment = sys.argv[1:4]
label, count = moment.split("@")
heard, note = 0, Draft.note

def listen(said, done, total):
    global heard
    heard += said.startswith(label)
    if heard == int(count):
        os.kill(os.getpid(), signal.SIGKILL)

def note_and_tell(draft, names):
    names = list(names)
    note(draft, names)
    for name in names:
        listen(f"wrote {name}", 1, 1)

@contextmanager
def replacing_and_telling(path):
    with replacing(path) as beside:
        yield beside
        listen(f"half {path.relative_to(folder)}", 1, 1)

checked_json.replacing = replacing_and_telling
Draft.note = note_and_tell
Run.open(Experiment.load(source), Path(folder), progress=listen).run_all()
"""


def kill_at(moments, experiment, folder):
    """Do a run in a process of its own that is killed, and again, once for each moment.

    A moment is `label@n`: the n-th call of progress whose label begins so, the n-th file
    noted, as `wrote NAME`, or the n-th time that a record or the manifest is written and not yet in its place, as `half NAME`.
    """
    source = folder.with_name(f"{folder.name}.yaml")
    source.write_text(experiment.to_yaml(), encoding="utf-8")
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums are rounded alike only on as many threads
    for moment in moments:
        command = [sys.executable, "-c", ITSELF, str(folder), str(source), moment, str(Path(__file__).parent)]
        assert subprocess.run(command, env=os.environ | threads, check=False).returncode == -signal.SIGKILL, moment
