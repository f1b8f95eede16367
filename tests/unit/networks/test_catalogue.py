"""The published files: pinned, with a hash or a size, and as torchvision names its own."""

import pytest
from torchvision.models import get_model_weights

from braindiffuser.metrics.profiles import Profile
from braindiffuser.networks.catalogue import (
    ALL,
    CLIP_FILE,
    GENERATORS,
    SCORING_NETWORKS,
    TOKENIZER_FILE,
    VERSATILE_FILE,
)


def test_every_file_is_listed_once():
    assert len({file.name for file in ALL}) == len(ALL) == len({*GENERATORS, *SCORING_NETWORKS.values()})
    assert set(SCORING_NETWORKS) == set(Profile.load("brain-diffuser-2023").layers)


def test_every_file_has_a_size_and_files_of_the_hub_a_commit():
    assert all(file.megabytes > 0 for file in ALL)
    for file in (CLIP_FILE, TOKENIZER_FILE):
        assert len(file.sha256) == 64
        assert file.on_hub[0] == "openai/clip-vit-large-patch14"
        assert len(file.on_hub[1]) == 40
    assert VERSATILE_FILE.on_hub[::2] == ("shi-labs/versatile-diffusion", f"pretrained_pth/{VERSATILE_FILE.name}")
    assert round(1e6 * TOKENIZER_FILE.megabytes) == 2_224_003
    assert round(1e6 * CLIP_FILE.megabytes) == 1_710_540_580


@pytest.mark.parametrize("name", ["alexnet", "inception_v3", "efficientnet_b1"])
def test_files_of_torchvision_are_those_that_it_names_itself(name):
    file, own = SCORING_NETWORKS[name], get_model_weights(name)["IMAGENET1K_V1"]
    assert file.url == own.url
    assert file.megabytes == round(own.meta["_file_size"] * 1.048576, 1)
    assert (
        file.name
        == own.url.rsplit("/", 1)[1]
        == f"{file.name.split('-')[0]}-{'owt-' * ('owt' in file.name)}{file.sha256}.pth"
    )
    assert file.on_hub is None
