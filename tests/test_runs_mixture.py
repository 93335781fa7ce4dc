"""Supervised training of pictures, text and questions about pictures, alone and at once."""

import json

import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from maskgrpo_cli import config as recipes
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.examples import load_parts
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.policy import load_policy
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.engine.sft import Sft, run
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.models.magvit import MagvitModel
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.tasks.shapes import SHAPES

SEED, SIZE = 3, 12


@pytest.fixture
def questions(tmp_path):
    rows = []
    for number in range(4):
        problem = SHAPES.problem("train", number)
        Image.fromarray(SHAPES.picture(problem)).save(tmp_path / f"{number}.png")
        rows.append({"image": f"{number}.png", "question": f"How many shapes? {number}", "answer": "two"})
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def configured(picture_models, tmp_path):
    """`configured(**sft)`: the config of a very small run of pictures."""

    def build(mixture=None, task=None, **sft):
        tree = {
            "seed": SEED, "device": "cpu", "output_dir": str(tmp_path / "run"),
            "model": {"path": f"{picture_models}/model", "image_tokenizer": f"{picture_models}/tokenizer"},
            "task": {"name": "shapes", "max_prompt_length": 120, "over_long": "truncate", "limit": 16, **(task or {})},
            "sampler": {"name": "emerge", "length": 64, "block_length": 64, "steps": 2},
            "evaluation": {"final_limit": 0},
            "sft": {"steps": 2, "batch_size": SIZE, "micro_batch_size": SIZE, "code_cache": None,
                    **({"mixture": mixture} if mixture else {}), **sft},
        }  # fmt: skip
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(tree))
        return recipes.load(str(tmp_path / "mine.yaml"), [], "sft")

    return build


def method(config):
    accelerator = make_accelerator(config)
    session = Session(config, accelerator, None, make_reporter(None, "test", 0, quiet=True), Interrupts())
    policy = load_policy(config, accelerator, trained=True, modality="image")
    return Sft(session, policy, load_parts(session, policy))


def gradients(sft):
    return torch.cat([parameter.grad.flatten() for parameter in sft.policy.parameters()])


def mixture(questions, *weights):
    tasks = [
        {"task": "shapes", "limit": 8},
        {"task": "arithmetic", "limit": 8, "length": 16},
        {"task": "picture-questions", "data": questions, "length": 8},
    ]
    return [task | {"weight": weight} for task, weight in zip(tasks, weights, strict=True)]


def test_the_loss_of_pictures_is_the_mean_over_the_masked_tokens_of_the_step(configured):
    sft = method(configured(min_mask_rate=0.3))
    row, part = sft.step(0), sft.parts[0]
    noise = Noise((SEED,), tuple(range(SIZE)))
    canvas = part.canvas(SEED, range(SIZE), noise, 0.0)
    copy = part.supervision.copy(canvas, noise, 0.3)
    hidden = torch.where(copy.mask, part.modality.vocabulary.mask_id, canvas.ids)
    with torch.no_grad():
        logits = sft.policy.plain(hidden, canvas.attention_mask).logits
    each = F.cross_entropy(logits[copy.mask], canvas.ids[copy.mask])  # over all ids, as published
    assert row["loss"] == pytest.approx(each.item(), abs=1e-5)
    assert copy.mask.sum(1).min() >= round(0.3 * 64)


def test_the_split_into_passes_changes_nothing(configured, questions):
    found = []
    for micro in (SIZE, 5, 1):
        sft = method(configured(mixture(questions, 1.0, 1.0, 1.0), micro_batch_size=micro))
        row = sft.step(0)
        found.append((gradients(sft), row["loss"]))
    assert found[0][0].abs().max() > 1e-4
    for other, loss in found[1:]:
        torch.testing.assert_close(other, found[0][0], atol=1e-5, rtol=0)
        assert loss == pytest.approx(found[0][1], abs=1e-5)


def test_a_step_is_the_mean_of_its_parts_by_their_shares(configured, questions):
    sft = method(configured(mixture(questions, 2.0, 1.0, 1.0)))
    row = sft.step(1)
    names = ["shapes", "arithmetic", "picture-questions"]
    shares = [row[f"share/{name}"] for name in names]
    assert sum(shares) == pytest.approx(1.0) and sum(share > 0 for share in shares) > 1
    whole = sum(share * row.get(f"loss/{name}", 0.0) for name, share in zip(names, shares, strict=True))
    assert row["loss"] == pytest.approx(whole, abs=1e-5)


def test_shares_follow_the_weights(configured, questions):
    sft = method(configured(mixture(questions, 6.0, 3.0, 1.0)))
    counts = torch.tensor([[len(part) for part in sft._parts_of(index)] for index in range(400)]).sum(0)
    share = counts / counts.sum()
    torch.testing.assert_close(share, torch.tensor([0.6, 0.3, 0.1]), atol=0.03, rtol=0)


def test_a_caption_that_is_left_out_changes_nothing(configured):
    sft = method(configured(caption_dropout=1.0))
    canvas = sft.parts[0].canvas(SEED, range(4), Noise((SEED,), tuple(range(4))), 1.0)
    empty = sft.policy.modality.canvas([[]] * 4, 64)
    start = canvas.start
    assert torch.equal(canvas.ids[:, :start], empty.ids[:, :start])
    assert torch.equal(canvas.attention_mask, empty.attention_mask)


def test_mismatched_examples_have_the_prompt_of_another(configured):
    part = method(configured([{"task": "shapes", "mismatched": 0.5}])).parts[0]
    places, noise = range(4000), Noise((SEED,), tuple(range(4000)))
    drawn = part.canvas(SEED, places, noise, 0.0)
    part.mismatched = 0.0
    matching = part.canvas(SEED, places, noise, 0.0)
    assert torch.equal(drawn.response, matching.response)  # the pictures stay
    differ = (drawn.ids[:, : drawn.start] != matching.ids[:, : drawn.start]).any(1).float().mean()
    chance = 0.5 * (1 - 1 / len(part.prompts))  # another prompt may be the same one
    assert abs(float(differ) - chance) < 0.04


def test_a_question_stands_behind_its_picture(configured, questions):
    sft = method(configured(mixture(questions, 1.0, 1.0, 1.0)))
    part = sft.parts[2]
    special, prompt = part.modality.special, part.prompts[0]
    assert prompt[:2] == [special.mmu, special.soi] and prompt[66] == special.eoi and prompt[67] == special.bos
    codes = torch.tensor(prompt[2:66]) - len(part.modality.tokenizer)
    assert codes.min() >= 0 and codes.max() < 64
    assert "How many shapes? 0" in part.modality.tokenizer.decode(prompt[67:])


def test_a_run_of_a_mixture_leaves_a_model_and_the_share_of_each_part(configured, questions, tmp_path):
    config = configured(mixture(questions, 2.0, 1.0, 1.0))
    run(config, "mine")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all("share/shapes" in row for row in rows)
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_pictures_need_an_image_tokenizer(configured):
    config = configured()
    config = config.model_copy(update={"model": config.model.model_copy(update={"image_tokenizer": None})})
    with pytest.raises(UserError, match=r"model.image_tokenizer: task 'shapes' needs one"):
        run(config, "mine")


def test_a_length_that_no_picture_has(configured):
    config = configured(length=63)
    with pytest.raises(UserError, match="63 image tokens"):
        run(config, "mine")


def test_a_part_has_a_prompt_length_of_its_own(configured):
    sums = {"task": "arithmetic", "limit": 8, "length": 16}
    shorter = configured(mixture=[{"task": "shapes", "limit": 8}, sums | {"max_prompt_length": 3}])
    with pytest.raises(UserError, match=r"sft\.mixture\[1\]\.max_prompt_length = 3: every prompt is longer") as told:
        shorter.task.over_long = "drop"
        method(shorter)
    assert "task.max_prompt_length" not in str(told.value)
    shorter.task.over_long = "truncate"
    captions, cut = method(shorter).parts
    assert max(map(len, cut.prompts)) == 3 < max(map(len, captions.prompts))
    longer = configured(mixture=[{"task": "shapes", "limit": 8, "max_prompt_length": 121}])
    with pytest.raises(UserError, match=r"mixture\[0\]\.max_prompt_length = 121: .* room for 120 caption tokens"):
        method(longer)


def test_a_missing_image_tokenizer_is_named_as_such(configured):
    config = configured()
    for name, told in (("./nowhere", "model.image_tokenizer './nowhere': no such folder"),
                       ("nowhere", "bundled: tiny-shapes-tokenizer; a hub id")):
        config.model.image_tokenizer = name
        with pytest.raises(UserError, match=told):
            method(config)


def test_pictures_that_are_asked_about_are_encoded_once(configured, questions, tmp_path, monkeypatch):
    """Same prompts with and without the shelf; a second start opens and encodes none of them."""
    asked = [{"task": "picture-questions", "data": questions, "length": 8}]
    plain = method(configured(mixture=asked)).parts[0].prompts
    (part,) = method(configured(mixture=asked, code_cache=str(tmp_path / "codes"))).parts
    assert part.prompts == plain and len({tuple(prompt) for prompt in plain}) == 4
    assert len([*(tmp_path / "codes").rglob("*.safetensors")]) == 1
    monkeypatch.setattr(MagvitModel, "encode", lambda *_: pytest.fail("encoded anew"))
    (again,) = method(configured(mixture=asked, code_cache=str(tmp_path / "codes"))).parts
    assert again.prompts == plain
