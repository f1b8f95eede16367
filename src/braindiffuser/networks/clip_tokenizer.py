"""CLIP's tokenizer, `tokenizer.json`: read, and compared with the config of its network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from braindiffuser.errors import reason
from braindiffuser.plain_data import read_json

MARKS = (("<|startoftext|>", "<|endoftext|>"), ("<start>", "<end>"))
"""What start and end token are called in tokenizers that do not say which ones they are."""


class SpecialTokens(NamedTuple):
    """Ids of the tokens that begin and end a caption."""

    start: int
    end: int


def read_tokenizer(path: Path, text: Mapping[str, Any]) -> tuple[Tokenizer, SpecialTokens]:
    """Read the tokenizer of a CLIP model, and its start and end token.

    Those that the tokenizer states are used: in published configs (0 and 2, or 1) they are often other words'. Captions are
    cut and padded to the length of the model, whatever the tokenizer states.

    Args:
        path: of `tokenizer.json`.
        text: config of the model's text side.

    Raises:
        ValueError: if it is no tokenizer, or not this model's; names the file.
    """
    content = json.dumps(read_json(path))
    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the library has no class of its own
        raise ValueError(f"{path} holds no tokenizer ({reason(error)})") from error
    ids, expected = set(tokenizer.get_vocab().values()), text.get("vocab_size", 49408)
    if len(ids) != expected or max(ids, default=-1) >= expected:
        raise ValueError(
            f"{path} has {len(ids):,} tokens, the last with number {max(ids, default=-1)}, but the text_config of config.json "
            f"beside it says vocab_size {expected}: take both files from the same model"
        )
    padding = (tokenizer.padding or {}).get("pad_id")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    special = _special_tokens(tokenizer, text, path)
    if padding not in (None, special.end):
        raise ValueError(
            f"{path} pads captions with token {padding}, but CLIP takes them padded with its end token {special.end}"
        )
    return tokenizer, special


def _special_tokens(tokenizer: Tokenizer, text: Mapping[str, Any], path: Path) -> SpecialTokens:
    words = tokenizer.get_vocab()
    n_added, named = tokenizer.num_special_tokens_to_add(False), [pair for pair in MARKS if words.keys() >= {*pair}]
    if n_added == 2:
        ids = tokenizer.encode("").ids
        found = SpecialTokens(ids[0], ids[-1])
        swapped = any((words[start], words[end]) == (found.end, found.start) for start, end in named)
        if swapped:
            raise ValueError(
                f"{path} begins captions with {named[0][1]} and ends them with {named[0][0]}: it is damaged"
            )
    elif n_added:
        raise ValueError(f"{path} adds {n_added} special tokens to a caption, but CLIP takes a start and an end token")
    elif named:
        found = SpecialTokens(*(words[mark] for mark in named[0]))
    else:
        found = SpecialTokens(text.get("bos_token_id", 49406), text.get("eos_token_id", 49407))
    if found.start == found.end or not all(token in words.values() for token in found):
        raise ValueError(
            f"{path} has no two tokens {found.start} and {found.end}, to begin and end captions: correct bos_token_id and "
            "eos_token_id in the text_config of config.json beside it"
        )
    return found
