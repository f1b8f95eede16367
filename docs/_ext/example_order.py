"""In which order the examples stand: what a newcomer needs first comes first."""

from __future__ import annotations

NAMES = (
    "decode_arrays",
    "score_two_methods",
    "numbers_of_a_run",
    "regions",
    "new_target",
    "study",
    "identify_stimuli",
)
"""Examples are `plot_NAME.py`; one that is not named here stops the build."""


class ExampleOrder:
    """Key by which Sphinx-Gallery sorts the files of a folder."""

    def __init__(self, src_dir: str) -> None:
        """Take the folder, which does not matter."""

    def __call__(self, filename: str) -> int:
        """Return the place of an example.

        Raises:
            ValueError: if the file is not named in `NAMES`.
        """
        name = filename.removeprefix("plot_").removesuffix(".py")
        if name not in NAMES:
            raise ValueError(f"example {filename} has no place: name it in NAMES of docs/_ext/example_order.py")
        return NAMES.index(name)
