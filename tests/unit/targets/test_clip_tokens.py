"""Laws of extracted tokens and embeddings: they belong to one picture or its captions alone."""

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from braindiffuser import images
from braindiffuser.networks.checkpoints import Clip, build_clip
from braindiffuser.targets.clip_tokens import (
    cut_levels,
    embed_pictures,
    extract_text_tokens,
    extract_vision_tokens,
    null_tokens,
)

WORDS = ["<start>", "<end>", "<unknown>", "a", "zebra", "castle", "near"]
LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY = {
    "text_config": LAYERS | {"vocab_size": 7, "max_position_embeddings": 6, "bos_token_id": 0, "eos_token_id": 1},
    "vision_config": LAYERS | {"image_size": 16, "patch_size": 8},
    "projection_dim": 12,
}
CAPTIONS = [["a zebra", "zebra near a castle"], ["castle", "", "a castle"], ["", ""], []]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    model = build_clip(TINY).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, "<unknown>"))
    tokenizer.pre_tokenizer = Whitespace()
    return Clip(model, tokenizer)


@pytest.fixture
def pictures():
    return np.random.default_rng(1).random((5, 3, 20, 20), dtype=np.float32)


@pytest.mark.parametrize(("extract", "shape"), [(extract_vision_tokens, (5, 12)), (embed_pictures, (12,))])
def test_order_and_batches_of_pictures_change_nothing(clip, pictures, extract, shape):
    extracted = extract(clip, pictures)
    assert extracted.shape == (5, *shape)
    assert extracted.dtype == np.float32
    order = np.array([4, 2, 0, 1, 3])
    np.testing.assert_allclose(extract(clip, pictures[order]), extracted[order], **CLOSE)
    parts = [extract(clip, pictures[:2]), extract(clip, pictures[2:])]
    np.testing.assert_allclose(np.concatenate(parts), extracted, **CLOSE)


def test_order_and_batches_of_captions_change_nothing(clip):
    tokens = extract_text_tokens(clip, CAPTIONS)
    assert tokens.shape == (4, 6, 12)
    assert tokens.dtype == np.float32
    np.testing.assert_allclose(extract_text_tokens(clip, CAPTIONS[::-1]), tokens[::-1], **CLOSE)
    one_by_one = [extract_text_tokens(clip, [captions]) for captions in CAPTIONS]
    np.testing.assert_allclose(np.concatenate(one_by_one), tokens, **CLOSE)


def test_pictures_rescaled_twice_are_noticed(clip, pictures):
    tokens = extract_vision_tokens(clip, pictures)
    assert not np.allclose(extract_vision_tokens(clip, pictures / np.float32(255)), tokens, rtol=0.1, atol=0.01)
    with pytest.raises(ValueError, match=r"CLIP takes pictures in \[0, 1\]"):
        extract_vision_tokens(clip, pictures * np.float32(255))
    with pytest.raises(ValueError, match=r"CLIP takes pictures in \[0, 1\]"):
        embed_pictures(clip, pictures * np.float32(255))


def test_eight_bit_pictures_give_the_same_embedding_as_the_pictures_they_were(clip):
    raw = np.random.default_rng(3).integers(0, 256, (2, 16, 16, 3), np.uint8)
    pictures = images.from_uint8(raw)
    again = images.from_uint8(images.to_uint8(pictures))
    np.testing.assert_array_equal(embed_pictures(clip, again), embed_pictures(clip, pictures))


def test_the_class_token_points_where_the_embedding_does(clip, pictures):
    embedding = embed_pictures(clip, pictures)
    expected = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    np.testing.assert_allclose(extract_vision_tokens(clip, pictures)[:, 0], expected, **CLOSE)


def test_nothing_is_grey_and_the_empty_caption(clip):
    vision, text = null_tokens(clip)
    assert vision.shape == (1, 5, 12)
    grey = np.full((1, 3, 33, 33), 0.5, np.float32)
    np.testing.assert_allclose(extract_vision_tokens(clip, grey), vision, **CLOSE)
    tokens = extract_text_tokens(clip, CAPTIONS)
    np.testing.assert_allclose(tokens[2:], np.repeat(text, 2, axis=0), **CLOSE)
    assert not np.allclose(tokens[:2], text, rtol=0.1, atol=0.01)


def as_the_reference_cuts(picture):
    """ToTensor, to [-1, 1], back, and to 8 bits, as its own libraries do it."""
    floats = torch.from_numpy(np.array(picture)).float() / 255
    return Image.fromarray(((floats * 2 - 1 + 1) / 2).mul(255).byte().numpy())


def test_published_resizing_goes_by_512_pixels_in_8_bits_and_cuts_levels(clip, pictures):
    by_hand = [
        as_the_reference_cuts(Image.fromarray(picture).resize((512, 512), Image.BILINEAR)).resize(
            (16, 16), Image.BICUBIC
        )
        for picture in images.to_uint8(pictures)
    ]
    expected = extract_vision_tokens(clip, images.from_uint8(np.stack([np.asarray(picture) for picture in by_hand])))
    np.testing.assert_array_equal(extract_vision_tokens(clip, pictures, "as-published"), expected)


def test_63_of_256_levels_come_out_one_lower():
    levels = np.arange(256, dtype=np.uint8)
    shown = images.from_uint8(np.repeat(levels[None, :, None, None], 3, axis=3))
    lowered = levels - images.to_uint8(cut_levels(shown))[0, :, 0, 0]
    assert np.bincount(lowered).tolist() == [193, 63]


def test_published_nothing_is_grey_level_127(clip):
    grey = np.full((1, 3, 16, 16), 127 / 255, np.float32)
    vision, text = null_tokens(clip, "as-published")
    np.testing.assert_allclose(vision, extract_vision_tokens(clip, grey), **CLOSE)
    np.testing.assert_array_equal(text, null_tokens(clip)[1])
