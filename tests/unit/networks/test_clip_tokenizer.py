"""Laws of CLIP's tokenizer: its own start and end token count, whatever the config says, and another model's is refused."""

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from braindiffuser.networks.checkpoints import build_clip, load_clip, save_network
from braindiffuser.networks.clip import mean_text_tokens
from braindiffuser.networks.clip_tokenizer import MARKS, read_tokenizer
from braindiffuser.networks.config_checks import check_clip
from braindiffuser.networks.convert import convert_clip

WORDS = ["!", "a", "zebra", "in", "front", "of", "castle"]
START, END = len(WORDS), len(WORDS) + 1
LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = LAYERS | {"vocab_size": END + 1, "max_position_embeddings": 8, "bos_token_id": START, "eos_token_id": END}
CLIP = {"text_config": TEXT, "vision_config": LAYERS | {"image_size": 8, "patch_size": 4}, "projection_dim": 6}
IDS = [(0, 2), (0, 1), (1, END), (START, 2), (END, START), (START, START), (10**6, 2), (None, None), ("a", [1])]


def a_tokenizer(marks=MARKS[0], stated=True):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*WORDS, *marks])}, "!"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if stated:
        tokenizer.post_processor = processors.RobertaProcessing((marks[1], END), (marks[0], START))
    return tokenizer


def tokens_of(folder):
    clip = load_clip(folder)
    with torch.inference_mode():
        return mean_text_tokens(clip.model, clip.tokenizer, ["a zebra in front of a castle", "castle"])


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save_network(tmp_path / "clip", build_clip(CLIP), CLIP)
    a_tokenizer().save(str(tmp_path / "clip" / "tokenizer.json"))
    return tmp_path / "clip"


@pytest.mark.parametrize(("start", "end"), [ids for ids in IDS if all(isinstance(one, int) for one in ids)])
def test_start_and_end_are_those_of_the_tokenizer(folder, tmp_path, start, end):
    expected = tokens_of(folder)
    content = CLIP | {"text_config": TEXT | {"bos_token_id": start, "eos_token_id": end}}
    (folder / "config.json").write_text(json.dumps(content))
    torch.testing.assert_close(tokens_of(folder), expected, rtol=0, atol=0)
    convert_clip(folder / "model.safetensors", folder / "tokenizer.json", tmp_path / "new", content)
    written = json.loads((tmp_path / "new" / "config.json").read_text())["text_config"]
    assert (written["bos_token_id"], written["eos_token_id"]) == (START, END)
    torch.testing.assert_close(tokens_of(tmp_path / "new"), expected, rtol=0, atol=0)


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize(("start", "end"), IDS)
def test_they_are_found_where_the_tokenizer_states_them_and_by_their_names(tmp_path, marks, stated, start, end):
    a_tokenizer(marks, stated).save(str(tmp_path / "tokenizer.json"))
    _, special = read_tokenizer(tmp_path / "tokenizer.json", TEXT | {"bos_token_id": start, "eos_token_id": end})
    assert special == (START, END)


def test_the_configs_ids_count_where_the_tokenizer_says_nothing_and_must_be_two_of_its_tokens(tmp_path):
    a_tokenizer(("begin", "finish"), stated=False).save(str(tmp_path / "tokenizer.json"))
    for start, end in IDS:
        text = TEXT | {"bos_token_id": start, "eos_token_id": end}
        if isinstance(start, int) and isinstance(end, int) and start != end and max(start, end) <= END:
            assert read_tokenizer(tmp_path / "tokenizer.json", text)[1] == (start, end)
        else:
            with pytest.raises(
                ValueError, match=r"tokenizer\.json has no two tokens .*: correct bos_token_id and eos_"
            ):
                read_tokenizer(tmp_path / "tokenizer.json", text)


@pytest.mark.parametrize("n_tokens", [1, END, END + 2, 49408])
def test_a_tokenizer_of_another_model_is_refused(folder, n_tokens):
    with pytest.raises(
        ValueError, match=rf"tokenizer\.json has {END + 1} tokens, .* says vocab_size {n_tokens}: take both"
    ):
        read_tokenizer(folder / "tokenizer.json", TEXT | {"vocab_size": n_tokens})


def test_what_a_tokenizer_says_of_lengths_does_not_count(folder):
    expected = tokens_of(folder)
    tokenizer = a_tokenizer()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(pad_id=END, length=5)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.testing.assert_close(tokens_of(folder), expected, rtol=0, atol=0)


def test_a_tokenizer_that_pads_otherwise_or_marks_otherwise_is_refused(folder):
    tokenizer = a_tokenizer()
    tokenizer.enable_padding(pad_id=0)
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(ValueError, match=rf"pads captions with token 0, but .* end token {END}"):
        load_clip(folder)
    tokenizer = a_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        "<|startoftext|> $A", special_tokens=[("<|startoftext|>", START)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(ValueError, match="adds 1 special tokens to a caption"):
        load_clip(folder)


def test_entries_that_are_given_twice_count_as_transformers_takes_them(folder):
    content = CLIP | {"text_config": LAYERS, "text_config_dict": TEXT}
    (folder / "config.json").write_text(json.dumps(content))
    assert load_clip(folder).model.config.text_config.vocab_size == END + 1
    assert check_clip(folder, "checkpoint")["text"] == (8, 6)
