"""CLIP tokens against figures made by the paper's rules on `transformers.CLIPModel`.

Every `clip_tokens_*.safetensors` in the folder named by BRAINDIFFUSER_REFERENCE_VECTORS is read, whatever its
configuration.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from braindiffuser.networks.checkpoints import build_clip
from braindiffuser.networks.clip import text_tokens, vision_tokens

VECTORS = Path(os.environ.get("BRAINDIFFUSER_REFERENCE_VECTORS", Path(__file__).parent / "vectors"))
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(scope="module", params=sorted(VECTORS.glob("clip_tokens_*.safetensors")), ids=lambda path: path.stem)
def vectors(request):
    """The file's tensors, and the model with its weights."""
    with safe_open(request.param, "pt") as file:
        config = json.loads(file.metadata()["config"])
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    model = build_clip(config).eval()
    weights = {name.removeprefix("weights."): tensor for name, tensor in tensors.items() if name.startswith("weights.")}
    model.load_state_dict(weights)
    return tensors, model.requires_grad_(False)


def test_vision_tokens(vectors):
    tensors, model = vectors
    torch.testing.assert_close(vision_tokens(model, tensors["pixel_values"]), tensors["vision_tokens"], **CLOSE)


def test_text_tokens(vectors):
    tensors, model = vectors
    tokens = text_tokens(model, tensors["input_ids"])
    torch.testing.assert_close(tokens, tensors["text_tokens"], **CLOSE)
    torch.testing.assert_close(tokens.mean(dim=0), tensors["caption_mean_text_tokens"], **CLOSE)


def test_the_first_end_token_sets_the_norm(vectors):
    tensors, model = vectors
    tokens = text_tokens(model, tensors["input_ids"])
    ends = tokens[torch.arange(len(tokens)), tensors["end_positions"]]
    torch.testing.assert_close(ends.norm(dim=-1), torch.ones(len(tokens)), **CLOSE)
