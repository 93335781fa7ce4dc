"""The CLIP score: against open_clip's own loading and features, at its edges, and what its pictures may be."""

# ruff: noqa: F811

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_clip
import torch
from clip_parts import expected, folder, hub_cache, refusal, score  # noqa: F401
from PIL import Image
from tiny_clip import PROMPTS, SIDE

from maskgrpo_cli import registry
from maskgrpo_cli.engine.scoring import Rewards
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.clip import ClipScore
from maskgrpo_cli.rewards.pictures import as_image
from maskgrpo_cli.types import Problem

# --- the score --------------------------------------------------------------------------------------


def test_the_cosine_of_the_features_as_open_clip_computes_them(score, expected):
    found = score(prompts=PROMPTS, completions=tiny_clip.pictures(), answer=["x"] * 4)
    assert found == pytest.approx(expected, abs=1e-6)
    assert all(isinstance(value, float) and -1 <= value <= 1 for value in found) and len(set(found)) == 4
    assert registry.resolve("reward", "clip") is ClipScore


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_batches_change_no_score(folder, score, size):
    prompts, pictures = PROMPTS * 2, tiny_clip.pictures() * 2
    other = ClipScore(f"local-dir:{folder}", batch_size=size)(prompts, pictures)
    assert other == pytest.approx(score(prompts, pictures), abs=1e-6)
    assert other[::-1] == pytest.approx(score(prompts[::-1], pictures[::-1]), abs=1e-6)
    assert score([], []) == []


def test_a_text_is_cut_at_77_tokens(score):
    """A start, 75 of one word's tokens and the end fill the context: word 76 is not seen, word 75 is."""
    picture = [tiny_clip.pictures()[0]] * 4
    texts = ["cat " * 75, "cat " * 300, "cat " * 75 + "dog", "cat " * 74 + "dog"]
    exact, long, behind, within = score(texts, picture)
    assert exact == long == behind and within != exact
    (ids,) = score.model.tokenize([texts[1]]).tolist()
    assert len(ids) == 77 and ids[0] == 49406 and ids[-1] == 49407 and set(ids[1:-1]) == {2368}


def test_the_preprocessing_by_hand(score):
    """The shorter side to 32 (bicubic), the middle 32 columns, /255, CLIP's mean and std."""
    picture = Image.fromarray(tiny_clip.noise(48, 96))
    small = np.asarray(picture.resize((64, 32), Image.Resampling.BICUBIC), dtype=np.float64)[:, 16:48] / 255
    by_hand = (small - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]
    seen = score.model.preprocess(picture)
    assert seen.shape == (3, SIDE, SIDE)
    np.testing.assert_allclose(seen.permute(1, 2, 0).numpy(), by_hand, atol=1e-5)


def test_a_models_own_preprocessing_is_taken(tmp_path):
    own = {"mean": [0.5] * 3, "std": [0.25] * 3, "resize_mode": "squash", "interpolation": "bilinear"}
    folder = tiny_clip.save(tmp_path, preprocess_cfg=own)
    picture = Image.fromarray(tiny_clip.noise(40, 80))
    small = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float64) / 255
    score = ClipScore(f"local-dir:{folder}")
    seen = score.model.preprocess(picture).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(seen, (small - 0.5) / 0.25, atol=1e-5)
    model, transform, tokenize = tiny_clip.reference(folder)
    assert score([PROMPTS[0]], [picture]) == pytest.approx(
        tiny_clip.cosines(model, tokenize, PROMPTS[:1], [transform(picture)]), abs=1e-6)


def test_scoring_leaves_no_trace(folder):
    before = torch.get_rng_state()
    score = ClipScore(f"local-dir:{folder}")
    score(PROMPTS, tiny_clip.pictures())
    assert torch.equal(before, torch.get_rng_state())
    assert not score.model.model.training and not any(p.requires_grad for p in score.model.model.parameters())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precision(folder, expected, dtype):
    found = ClipScore(f"local-dir:{folder}", dtype=dtype)(PROMPTS, tiny_clip.pictures())
    assert found == pytest.approx(expected, abs=0.02) and found != pytest.approx(expected, abs=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("dtype", "within"), [("float32", 2e-3), ("bfloat16", 0.03), ("float16", 0.01)])
def test_on_a_gpu(folder, expected, dtype, within):
    found = ClipScore(f"local-dir:{folder}", dtype=dtype, device="cuda", batch_size=3)(PROMPTS, tiny_clip.pictures())
    assert found == pytest.approx(expected, abs=within)


def test_through_the_engine_one_bad_picture_costs_only_itself(folder, score):
    told = []
    settings = {"clip": {"model": f"local-dir:{folder}", "batch_size": 2}}
    rewards = Rewards({"clip": 2.0}, told.append, settings, "cpu", True)
    problems = [Problem(str(i), ({"role": "user", "content": prompt},), {}) for i, prompt in enumerate(PROMPTS)]
    completions = [*tiny_clip.pictures()[:3], "no picture"]
    found = rewards(problems, completions)
    assert found.failed.tolist() == [[False], [False], [False], [True]]
    alone = [2 * value for value in score(PROMPTS[:3], completions[:3])]
    assert found.total[:3].tolist() == pytest.approx(alone, abs=1e-5)
    assert len(told) == 1 and "ValueError: a picture is a PIL image, an array or a tensor, not str" in told[0]


# --- pictures -------------------------------------------------------------------------------------------


def test_arrays_and_tensors_are_the_pictures_that_they_show(score):
    pixels = tiny_clip.noise(40, 36)
    floats = pixels.astype(np.float32) / 127.5 - 1
    same = [Image.fromarray(pixels), pixels, floats, floats.astype(np.float64), torch.from_numpy(floats),
            torch.from_numpy(pixels), torch.from_numpy(floats).requires_grad_(), pixels[::-1][::-1]]
    first, *others = score([PROMPTS[0]] * len(same), same)
    assert others == pytest.approx([first] * len(others), abs=1e-6)


def test_floats_become_bytes_as_decoded_pictures_do():
    values = [-1.0, 1.0, 0.0, -2.0, 2.0, np.nan, np.inf, -np.inf, 2.4 / 255 * 2 - 1, 2.6 / 255 * 2 - 1]
    array = np.repeat(np.array(values, dtype=np.float32)[None, :, None], 3, axis=2)
    assert np.asarray(as_image(array))[0, :, 0].tolist() == [0, 255, 128, 0, 255, 0, 255, 0, 2, 3]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "HSV"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (300, 2), (31, 33)])
def test_any_mode_and_size_of_picture(score, mode, size):
    picture = Image.fromarray(tiny_clip.noise(size[1], size[0])).convert(mode)
    (value,) = score([PROMPTS[0]], [picture])
    assert -1 <= value <= 1
    assert score([PROMPTS[0]], [picture.convert("RGB")]) == [value]


@pytest.mark.parametrize(("picture", "told"), [
    ("a text", "not str"), (None, "not NoneType"), ([[1, 2], [3, 4]], "not list"), (3.0, "not float"),
    (np.zeros((8, 8), np.uint8), "not of shape (8, 8)"), (np.zeros((8, 8, 4), np.uint8), "not of shape (8, 8, 4)"),
    (np.zeros((3, 8, 8), np.float32), "not of shape (3, 8, 8)"),
    (np.zeros((0, 8, 3), np.uint8), "not of shape (0, 8, 3)"),
    (np.zeros((8, 8, 3), np.int64), "not int64"), (torch.zeros(8, 8, 3, dtype=torch.bool), "not bool"),
    (np.array(["a"]), "not of shape (1,)"), (Image.new("RGB", (0, 5)), "0 wide and 5 high"),
    (Image.new("F", (8, 8)), "PIL's mode F"), (Image.new("I;16", (8, 8)), "PIL's mode I;16"),
])
def test_what_is_no_picture(score, picture, told):
    with pytest.raises(ValueError) as caught:
        score(PROMPTS[:2], [tiny_clip.pictures()[0], picture])
    assert told in str(caught.value)


def test_a_broken_file_is_no_picture(score, tmp_path):
    Image.fromarray(tiny_clip.noise(64, 64)).save(tmp_path / "a.png")
    raw = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match="the picture cannot be read"):
        score(PROMPTS[:1], [Image.open(tmp_path / "a.png")])


def test_as_many_pictures_as_prompts(score):
    with pytest.raises(ValueError, match="1 pictures for 2 texts"):
        score(PROMPTS[:2], tiny_clip.pictures()[:1])


# --- the command line and what it imports ---------------------------------------------------------------


def test_open_clip_is_imported_when_a_reward_is_made():
    script = ("import sys; import maskgrpo_cli.rewards.clip, maskgrpo_cli.rewards.hpsv2, maskgrpo_cli.engine.scoring;"
              "print(sorted({'open_clip', 'timm', 'torchvision', 'transformers'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_run_tells_of_missing_weights_before_it_begins(train, tmp_path):
    with pytest.raises(UserError, match=r"^task.reward_settings.clip: weights = 'none.pt': there is no such file$"):
        train("none", **{"task.rewards": {"clip": 1.0}, "task.reward_settings.clip.weights": "none.pt"})
    assert not (Path(tmp_path) / "none" / "metrics.jsonl").exists()
