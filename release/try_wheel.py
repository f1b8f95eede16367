"""Build wheel and source distribution, install the wheel in a fresh environment, and use it as a new user would.

python release/try_wheel.py [--demo] [--out dist]

Without its extras the package must do all that needs no networks: print an experiment file, score two folders of pictures, and
say in one sentence what is missing where it is asked for more. `--demo` installs the extra `demo` as well and runs the
demonstration, which takes some minutes more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = """
import sys
import numpy as np
from PIL import Image
from pathlib import Path
import braindiffuser
braindiffuser.Experiment.load("demo")
rng = np.random.default_rng(0)
for folder in ("seen", "made"):
    Path(folder).mkdir()
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(f"{folder}/{number}.png")
assert not {"torch", "transformers", "diffusers"} & sys.modules.keys(), "the core imports networks"
"""
RECORDING = """
import json
import numpy as np
from PIL import Image
from pathlib import Path
rng = np.random.default_rng(0)
np.save("betas.npy", rng.normal(size=(24, 30)).astype(np.float32))
Path("pictures").mkdir()
for number in range(12):
    Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(f"pictures/{number}.png")
rows = [f"{trial // 8 + 1},1,{trial % 12}.png,a scene,{'test' if trial % 12 < 3 else 'train'}" for trial in range(24)]
Path("trials.csv").write_text("\\n".join(["session,run,stim_file,caption,split", *rows]))
dataset = {"kind": "arrays", "responses": "betas.npy", "unit": "z", "trials": "trials.csv", "pictures": "pictures"}
Path("own.yaml").write_text(json.dumps({"preset": "demo", "name": "own", "dataset": dataset}))
"""
LARGEST_MB = 60
"""Of the wheel."""


def main() -> None:
    """Build, install, use; raise if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="install the extra demo and run the demonstration")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for what is built")
    options = parser.parse_args()
    wheel = build(options.out)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        python = environment(place / "env")
        started = time.perf_counter()
        run(python, "-m", "pip", "install", "--quiet", str(wheel))
        print(f"core installed in {time.perf_counter() - started:.0f} s")
        use_core(python, place)
        if options.demo:
            run(python, "-m", "pip", "install", "--quiet", f"{wheel}[demo]")
            run(python, "-m", "braindiffuser", "demo", "--out", "demo", at=place)
            page = place / "demo/report/index.html"
            print(f"demonstration: a page of {page.stat().st_size / 1e6:.1f} MB")


def build(out: Path) -> Path:
    """Build both distributions, look into them, and return the wheel."""
    run(sys.executable, "-m", "build", "--outdir", str(out), str(ROOT))
    wheel, source = (max(out.glob(pattern), key=lambda path: path.stat().st_mtime) for pattern in ("*.whl", "*.tar.gz"))
    with zipfile.ZipFile(wheel) as file:
        inside = set(file.namelist())
    needed = {
        f"braindiffuser/{name}" for name in ("presets/demo.yaml", "py.typed", "checkpoints/demo/clip/model.safetensors")
    }
    missing = sorted(needed - inside) + [
        name for name in ("LICENSE", "METADATA") if not any(path.endswith(name) for path in inside)
    ]
    if missing:
        raise SystemExit(f"{wheel.name} lacks {', '.join(missing)}")
    size = wheel.stat().st_size / 1e6
    if size > LARGEST_MB:
        raise SystemExit(f"{wheel.name} has {size:.0f} MB, expected {LARGEST_MB} or less")
    with tarfile.open(source) as archive:
        n_tests = sum("/tests/" in name for name in archive.getnames())
    print(f"{wheel.name}: {size:.1f} MB; {source.name}: {source.stat().st_size / 1e6:.1f} MB, {n_tests} files of tests")
    return wheel


def environment(folder: Path) -> str:
    """Make a fresh environment and return its Python."""
    venv.create(folder, with_pip=True)
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def use_core(python: str, place: Path) -> None:
    """Do what the package can do without its extras."""
    run(python, "-c", CODE, at=place)
    run(python, "-m", "braindiffuser", "--version", at=place)
    run(python, "-m", "braindiffuser", "info", at=place)
    run(python, "-m", "braindiffuser", "evaluate", "seen", "made", "--profile", "pixels", at=place)
    run(python, "-c", RECORDING, at=place)
    for words in (("check", "own.yaml"), ("prepare", "--config", "own.yaml", "--out", "run")):
        run(python, "-m", "braindiffuser", *words, at=place)
    refused = subprocess.run(
        [python, "-m", "braindiffuser", "demo", "--out", "refused"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        env=own_environment(),
    )
    if refused.returncode != 1 or "pip install 'braindiffuser[generate]'" not in " ".join(refused.stderr.split()):
        raise SystemExit(f"without networks `demo` ended with {refused.returncode}: {refused.stdout}{refused.stderr}")


def run(*command: str, at: Path = ROOT) -> None:
    """Run a command outside this project's own environment; raise with what it printed if it fails."""
    done = subprocess.run(
        command,
        cwd=at,
        env=own_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ended with {done.returncode}:\n{done.stdout}")


def own_environment() -> dict[str, str]:
    """Return the environment without paths of other Python packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


if __name__ == "__main__":
    main()
