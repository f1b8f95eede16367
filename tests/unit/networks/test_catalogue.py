"""The published files: pinned, with a hash or a size, and as torchvision names its own."""

import pytest
from torchvision.models import get_model_weights

from braindiffuser.metrics.profiles import Profile, profile_names
from braindiffuser.networks.catalogue import (
    ALL,
    CLIP_FILE,
    GENERATORS,
    SCORING_NETWORKS,
    TOKENIZER_FILE,
    VERSATILE_FILE,
    files_of,
)


def test_every_file_is_listed_once():
    assert len({file.name for file in ALL}) == len(ALL) == len({*GENERATORS, *SCORING_NETWORKS.values()})
    needed = {network for name in profile_names() for network in Profile.load(name).layers}
    assert set(SCORING_NETWORKS) == needed - {"efficientnet_lite0", "clip_demo"}


def test_lpips_needs_alexnet_too():
    assert [file.name for file in files_of("lpips_alexnet")] == ["lpips-v0.1-alex.pth", "alexnet-owt-7be5be79.pth"]
    assert files_of("swav") == files_of("swav_256") == (SCORING_NETWORKS["swav"],)
    assert files_of("lpips_alexnet")[0].sha256[:8] == "df73285e"


def test_every_file_has_a_size_and_files_of_the_hub_a_commit():
    assert all(file.megabytes > 0 for file in ALL)
    for file in (CLIP_FILE, TOKENIZER_FILE):
        assert len(file.sha256) == 64
        assert file.on_hub[0] == "openai/clip-vit-large-patch14"
        assert len(file.on_hub[1]) == 40
    assert VERSATILE_FILE.on_hub[::2] == ("shi-labs/versatile-diffusion", f"pretrained_pth/{VERSATILE_FILE.name}")
    assert round(1e6 * TOKENIZER_FILE.megabytes) == 2_224_003
    assert round(1e6 * CLIP_FILE.megabytes) == 1_710_540_580


@pytest.mark.parametrize(
    ("network", "name", "version"),
    [
        ("alexnet", "alexnet", "IMAGENET1K_V1"),
        ("inception_v3", "inception_v3", "IMAGENET1K_V1"),
        ("efficientnet_b1", "efficientnet_b1", "IMAGENET1K_V1"),
        ("efficientnet_b1_v2_256", "efficientnet_b1", "IMAGENET1K_V2"),
    ],
)
def test_files_of_torchvision_are_those_that_it_names_itself(network, name, version):
    file, own = SCORING_NETWORKS[network], get_model_weights(name)[version]
    assert file.url == own.url
    assert file.megabytes == round(own.meta["_file_size"] * 1.048576, 1)
    assert (
        file.name
        == own.url.rsplit("/", 1)[1]
        == f"{file.name.split('-')[0]}-{'owt-' * ('owt' in file.name)}{file.sha256}.pth"
    )
    assert file.on_hub is None
