"""Exceptions; each message says what was found, what was expected and what to do."""

import re
import shlex

__all__ = ["BrainDiffuserError", "DependencyError", "RecordingError", "RunError", "reason"]


class BrainDiffuserError(Exception):
    """Base of every error that this package raises on purpose."""


class RecordingError(BrainDiffuserError):
    """A recording on disk is missing a file, is truncated, or does not fit its design."""


class RunError(BrainDiffuserError):
    """An experiment, a run or its folder cannot be used as asked; the message says why and what to do."""


class DependencyError(BrainDiffuserError):
    """An optional package, or a published file, is missing or damaged."""


EXTRAS = {
    "generate": (
        "torch",
        "torchvision",
        "diffusers",
        "transformers",
        "tokenizers",
        "timm",
        "huggingface_hub",
        "pooch",
        "tqdm",
    ),
    "brain": ("nilearn",),
    "hub": ("huggingface_hub",),
    "fetch": ("boto3",),
    "cluster": ("distributed", "dask", "dask_jobqueue", "bokeh"),
}
"""Extra of this package → what it installs that a command may need, as it is imported."""


def lacks_package(error: ModuleNotFoundError, extra: str = "") -> str:
    """Say which extra brings a package that is not installed; "" if none does.

    Args:
        error: that names the package.
        extra: the one to name, if it brings the package; empty: the first that does.

    >>> lacks_package(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    "this needs torch, which is not installed: pip install 'braindiffuser[generate]'"
    """
    package = (error.name or "").partition(".")[0]
    bring = [name for name, packages in EXTRAS.items() if package in packages]
    extra = extra if extra in bring else next(iter(bring), "")
    needs = f"this needs {package}, which is not installed: pip install 'braindiffuser[{extra}]'"
    return needs if extra else ""


def command_line(*words: object) -> str:
    """Return a command of this program as messages name it: in backquotes, each word quoted for a shell.

    Args:
        words: of the command, after "braindiffuser", such as names and paths.

    >>> print(command_line("run", "--out", "my runs/a"))
    `braindiffuser run --out 'my runs/a'`
    """
    return f"`{shlex.join(['braindiffuser', *map(str, words)])}`"


_ADVICE = re.compile(
    r"=\s*['\"]?(true|false|none|ignore|skip)\b|\b(verify|loader)\s*=|\btrust_|\byou (\w+ )?trust\b|\btrusted source|allow_pickle"
    r"|weights_only|safe_globals|unsafe_?load|max_image_pixels|load_truncated|use_symlinks|file_locking|safe\.directory|set_int_max"
    r"|--(no-)?(check|verify|insecure)|[a-z]_disable_[a-z]|\b(disabl(es?|ing)|suppress(ing)?|turn(ing)? (it )?off)\b"
    r"|\bto silence\b|\bbe (disabled|suppressed|silenced|turned off)",
    re.IGNORECASE,
)
"""What a library says of ways to turn off one of its own checks."""
_PATH = re.compile(r"[^\s'\"`=(),;]*[/\\][^\s'\"`=(),;]*")
_CLAUSE = re.compile(
    r"(?:^|[;,:]? )\(?(?:(?:when|if|unless|use|set|pass|try|to|please|you|with|and|or|but|by|can|see|consider)\b ?)+|[;,:] | \(",
    re.IGNORECASE,
)
"""Where a clause begins that may hold such advice."""


def reason(error: BaseException | str, length: int = 200) -> str:
    """Return what a library says is wrong, to stand in a message of ours: its first sentence, without advice of the library's.

    Advice such as allow_pickle=True turns off what protects the user, so all of the clause that holds it is left out. Our own
    sentences hold none and stay as they are, if they are no longer than `length`.

    >>> reason(ValueError("Object arrays cannot be loaded when allow_pickle=False. If you trust the file …"))
    'Object arrays cannot be loaded'
    """
    lines = str(error).strip().splitlines()
    if lines and re.match(r"\d+ validation errors? for ", lines[0]):  # of pydantic, whose first line names no fault
        lines = [re.sub(r"^\d+ validation errors? for \S+ (Value error, )?", "", " ".join(" ".join(lines).split()))]
    text = " ".join(lines[0].split()) if lines else ""
    sentence = re.split(r"[.!?](?= |$)| \[type=", text)[0]
    advice = _ADVICE.search(_PATH.sub(lambda path: "/" * len(path[0]), sentence))
    if advice:
        begins = [clause.start() for clause in _CLAUSE.finditer(sentence[: advice.start()])]
        sentence = sentence[: begins[-1]] if begins else ""
    return sentence.strip(" .;:,")[:length] or ("" if isinstance(error, str) else type(error).__name__)
