"""Train the bundled CLIP (64 px) and its word tokenizer on composed scenes and their captions.

python training/train_clip.py [--steps 1100]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from loop import TRAINING_SEED, Loss, arguments_of, train
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor
from transformers import CLIPModel

from braindiffuser import images
from braindiffuser.datasets.simulation.scenes import compose_scenes, load_scene_kit
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import build_clip, save_network
from braindiffuser.networks.clip import pixel_values, tokenize

BATCH = 192
UNKNOWN, START, END = "<unknown>", "<|startoftext|>", "<|endoftext|>"


def word_tokenizer() -> Tokenizer:
    """One token a word: every word of the captions, and the names of held-out photographs, which training never shows."""
    kit = load_scene_kit()
    words = {word for photo in (*kit.objects, *kit.backgrounds) for word in photo.name.split()}
    words |= {
        word for scene in compose_scenes(2000, TRAINING_SEED)[1] for line in scene.captions for word in line.split()
    }
    vocabulary = [UNKNOWN, *sorted(words), START, END]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def clip_config(n_words: int) -> dict[str, Any]:
    """Two small transformers that meet in 64 dimensions; the end token is the last id, as in OpenAI's CLIP."""
    return {
        "projection_dim": 64,
        "text_config": {
            "vocab_size": n_words,
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 16,
            "projection_dim": 64,
            "bos_token_id": n_words - 2,
            "eos_token_id": n_words - 1,
            "pad_token_id": n_words - 1,
        },
        "vision_config": {
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "image_size": 64,
            "patch_size": 16,
            "projection_dim": 64,
        },
    }


def loss_of(network: CLIPModel, tokenizer: Tokenizer, device: torch.device, batch: int = BATCH) -> Loss:
    """Return the loss of a batch of scenes and captions, composed on the CPU and moved to the device."""

    def loss(step: int, generator: torch.Generator) -> Tensor:
        """Symmetric cross-entropy of matching pictures and captions within the batch (Radford et al. 2021)."""
        raw, scenes = compose_scenes(batch, TRAINING_SEED, first=step * batch)
        rng = np.random.default_rng([TRAINING_SEED, step])
        captions = [scene.captions[rng.integers(len(scene.captions))] for scene in scenes]
        pixels = pixel_values(torch.from_numpy(images.from_uint8(raw)).to(device), 64)
        words = tokenize(network, tokenizer, captions).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            output = network(input_ids=words, pixel_values=pixels, return_loss=True)
        value: Tensor = output.loss
        return value

    return loss


def main() -> None:
    """Train, then write the checkpoint folder."""
    arguments = arguments_of(__doc__, n_steps=1_100).parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = word_tokenizer()
    config = clip_config(tokenizer.get_vocab_size())
    network = build_clip(config).to(arguments.device)
    loss = loss_of(network, tokenizer, arguments.device)
    folder = Path(__file__).parent / "checkpoints" / "clip"
    trained = train(network, loss, folder, arguments.steps, learning_rate=1e-3)
    save_network(BUNDLED / "demo" / "clip", trained, config)
    tokenizer.save(str(BUNDLED / "demo" / "clip" / "tokenizer.json"))


if __name__ == "__main__":
    main()
