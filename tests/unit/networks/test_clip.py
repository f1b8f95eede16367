"""Laws of CLIP tokens: what sets their norm, what must not matter, and pictures that were rescaled twice."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import CLIPConfig, CLIPModel

from braindiffuser.networks.clip import (
    PIXEL_MEAN,
    PIXEL_STD,
    image_embedding,
    mean_text_tokens,
    pixel_values,
    text_tokens,
    tokenize,
    vision_tokens,
)

WORDS = ["<start>", "<end>", "<unknown>", "a", "zebra", "in", "front", "of", "castle", "large", "small"]
START, END, LENGTH, SIZE = 0, 1, 8, 16
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def model():
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(WORDS), "max_position_embeddings": LENGTH, "bos_token_id": START, "eos_token_id": END}
    vision = {"image_size": SIZE, "patch_size": 8}
    torch.manual_seed(0)
    clip = CLIPModel(
        CLIPConfig(text_config=layers | text | {"pad_token_id": END}, vision_config=layers | vision, projection_dim=12)
    )
    for parameter in clip.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return clip.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, "<unknown>"))
    words.pre_tokenizer = Whitespace()
    return words


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


# Pictures


def test_pixels_are_standardised():
    mean = torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1).expand(1, 3, SIZE, SIZE)
    std = torch.tensor(PIXEL_STD).view(1, 3, 1, 1)
    torch.testing.assert_close(pixel_values(mean, SIZE), torch.zeros(1, 3, SIZE, SIZE))
    torch.testing.assert_close(pixel_values(mean + std, SIZE), torch.ones(1, 3, SIZE, SIZE))


@pytest.mark.parametrize("size", [8, 16, 40])
def test_pixels_have_the_size_of_the_model_and_stay_in_range(pictures, size):
    pixels = pixel_values(pictures.round(), size)
    assert pixels.shape == (5, 3, size, size)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    restored = pixels * std + mean
    assert restored.min() >= -1e-6
    assert restored.max() <= 1 + 1e-6


def test_a_flat_picture_is_flat_at_every_size():
    small = pixel_values(torch.full((1, 3, 5, 9), 0.25), SIZE)
    torch.testing.assert_close(small, pixel_values(torch.full((1, 3, SIZE, SIZE), 0.25), SIZE))


@pytest.mark.parametrize("wrong", [lambda x: x * 255, lambda x: x * 2 - 1, lambda x: x.log().sqrt()])
def test_pictures_outside_the_convention_are_refused(pictures, wrong):
    with pytest.raises(ValueError, match=r"pictures in \[0, 1\], got values from .*images\.from_uint8, once"):
        pixel_values(wrong(pictures), SIZE)


def test_pictures_rescaled_twice_give_other_tokens(model, pictures):
    """x / 255 passes the check of range, so this fault of others can only be seen in the tokens."""
    tokens = vision_tokens(model, pixel_values(pictures, SIZE))
    twice = vision_tokens(model, pixel_values(pictures / 255, SIZE))
    black = vision_tokens(model, pixel_values(torch.zeros_like(pictures), SIZE))
    assert (twice - tokens).norm() > 20 * (twice - black).norm()


def test_no_picture_gives_no_pixels():
    assert pixel_values(torch.zeros(0, 3, SIZE, SIZE), SIZE).shape == (0, 3, SIZE, SIZE)


def test_vision_tokens_do_not_depend_on_the_batch(model, pictures):
    pixels = pixel_values(pictures, SIZE)
    tokens = vision_tokens(model, pixels)
    assert tokens.shape == (5, 1 + (SIZE // 8) ** 2, 12)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(vision_tokens(model, pixels[order]), tokens[order], **CLOSE)
    one_by_one = torch.cat([vision_tokens(model, pixel[None]) for pixel in pixels])
    torch.testing.assert_close(one_by_one, tokens, **CLOSE)


def test_the_class_token_has_norm_one_and_the_direction_of_the_embedding(model, pictures):
    pixels = pixel_values(pictures, SIZE)
    class_token = vision_tokens(model, pixels)[:, 0]
    torch.testing.assert_close(class_token.norm(dim=-1), torch.ones(5))
    embedding = image_embedding(model, pixels)
    torch.testing.assert_close(class_token, embedding / embedding.norm(dim=-1, keepdim=True), **CLOSE)
    assert not torch.allclose(embedding.norm(dim=-1), torch.ones(5), rtol=0.01)


def test_the_other_tokens_share_the_norm_of_the_class_token(model, pictures):
    pixels = pixel_values(pictures, SIZE)
    hidden = model.vision_model(pixel_values=pixels).last_hidden_state
    projected = model.visual_projection(model.vision_model.post_layernorm(hidden))
    ratio = projected.norm(dim=-1) / vision_tokens(model, pixels).norm(dim=-1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), **CLOSE)


# Captions


def test_captions_become_start_words_end_and_padding(model, tokenizer):
    ids = tokenize(model, tokenizer, ["a zebra", "", "a unicorn"])
    assert ids.tolist() == [
        [START, 3, 4, END, END, END, END, END],
        [START, *[END] * 7],
        [START, 3, 2, END, END, END, END, END],
    ]


def test_captions_longer_than_the_model_are_cut(model, tokenizer):
    long = "a large zebra in front of a small castle"
    ids = tokenize(model, tokenizer, [long, "a large zebra in front of"])
    assert ids.shape == (2, LENGTH)
    assert ids[0, -1] == END
    assert torch.equal(ids[0], ids[1])


def test_no_caption_gives_no_ids(model, tokenizer):
    assert tokenize(model, tokenizer, []).shape == (0, LENGTH)


def test_the_end_token_has_norm_one(model, tokenizer):
    tokens = text_tokens(model, tokenize(model, tokenizer, ["a zebra", "", "a large zebra in front of"]))
    assert tokens.shape == (3, LENGTH, 12)
    ends = tokens[torch.arange(3), torch.tensor([3, 1, 7])]
    torch.testing.assert_close(ends.norm(dim=-1), torch.ones(3))


def test_padding_does_not_matter_before_the_end_token(model, tokenizer):
    ids = tokenize(model, tokenizer, ["a small castle"])
    tokens = text_tokens(model, ids)
    other = ids.clone()
    other[:, 5:] = torch.tensor([9, 4, 8])
    torch.testing.assert_close(text_tokens(model, other)[:, :5], tokens[:, :5], **CLOSE)
    torch.testing.assert_close(text_tokens(model, ids[:, :5]), tokens[:, :5], **CLOSE)


def test_text_tokens_do_not_depend_on_the_batch(model, tokenizer):
    ids = tokenize(model, tokenizer, ["a zebra", "a large zebra in front of", "castle"])
    tokens = text_tokens(model, ids)
    torch.testing.assert_close(text_tokens(model, ids.flip(0)), tokens.flip(0), **CLOSE)
    torch.testing.assert_close(torch.cat([text_tokens(model, row[None]) for row in ids]), tokens, **CLOSE)


def test_the_mean_over_captions(model, tokenizer):
    captions = ["a zebra", "a small castle", "zebra in front of a castle"]
    tokens = text_tokens(model, tokenize(model, tokenizer, captions))
    mean = mean_text_tokens(model, tokenizer, captions)
    torch.testing.assert_close(mean, tokens.mean(dim=0), **CLOSE)
    torch.testing.assert_close(mean_text_tokens(model, tokenizer, captions[::-1]), mean, **CLOSE)
    torch.testing.assert_close(mean_text_tokens(model, tokenizer, captions * 2), mean, **CLOSE)


@pytest.mark.parametrize("captions", [["a zebra", ""], ["", " \n", "a zebra"]])
def test_empty_captions_are_left_out(model, tokenizer, captions):
    alone = mean_text_tokens(model, tokenizer, ["a zebra"])
    torch.testing.assert_close(mean_text_tokens(model, tokenizer, captions), alone, **CLOSE)


@pytest.mark.parametrize("captions", [[], ["", ""], ["  "]])
def test_only_empty_captions_are_the_empty_caption(model, tokenizer, captions):
    empty = text_tokens(model, tokenize(model, tokenizer, [""]))[0]
    torch.testing.assert_close(mean_text_tokens(model, tokenizer, captions), empty, **CLOSE)
