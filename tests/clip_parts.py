"""What the tests of the CLIP score share: a small model on disk, its reward, and what open_clip says of it."""


import pytest
import tiny_clip
from tiny_clip import PROMPTS

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.clip import ClipScore


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tiny_clip.save(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="session")
def score(folder):
    return ClipScore(f"local-dir:{folder}")


@pytest.fixture(scope="session")
def expected(folder):
    model, transform, tokenize = tiny_clip.reference(folder)
    return tiny_clip.cosines(model, tokenize, PROMPTS, [transform(picture) for picture in tiny_clip.pictures()])


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refusal(*arguments, **settings):
    """What the user is told."""
    with pytest.raises(UserError) as caught:
        ClipScore(*arguments, **settings)
    return str(caught.value)
