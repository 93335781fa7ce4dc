"""What must not matter: how the work is split, what else is in the batch, who draws from torch's generator."""

import pytest
import torch

from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.grpo import Grpo
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.policy import load_policy
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.tasks.arithmetic import ARITHMETIC


def near(first, second, tolerance=1e-5):
    """Whether two runs have the same metrics, step by step, within a tolerance."""
    assert len(first) == len(second)
    for a, b in zip(first, second):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key] == pytest.approx(b[key], abs=tolerance), key
    return True


@pytest.fixture
def method(tiny_config):
    """`method(**overrides)`: a GRPO method that is ready for its first step."""

    def make(**overrides):
        config = tiny_config(**overrides)
        accelerator = make_accelerator(config)
        session = Session(config, accelerator, None, make_reporter(None, "test", 0, quiet=True), Interrupts())
        problems = ARITHMETIC.load(None, "train", limit=8)
        return Grpo(session, load_policy(config, accelerator, trained=True), ARITHMETIC, problems)

    return make


@pytest.mark.parametrize("objective", ["grpo", "gmpo", "gspo"])
def test_the_ratio_is_one_at_the_first_update_of_every_rollout(train, objective):
    rows = train(grpo__steps=6, grpo__updates=3, grpo__objective__name=objective).rows()
    for row in rows:
        assert (row["kl"] == 0) is (row["update"] == 0)
        assert row["clip_ratio"] == 0 or row["update"] > 0
    # rho = 1: with centred advantages the loss is the mean of -A over the scored tokens, not their exponential
    assert all(abs(row["loss"]) < 1 for row in rows if row["update"] == 0)


def test_scoring_the_old_policy_again_gives_the_ratio_of_the_update(method):
    """What the first update takes for granted (old = new) is what scoring would have said, to the bit."""
    grpo = method(grpo__micro_batch_size=8)
    rollout = grpo.collect(0)
    canvas, copies = grpo.estimator.copies(rollout, 0, list(range(8)))
    with torch.no_grad():
        old = grpo.estimator.score(grpo.policy.denoiser(), canvas, copies).log_probs
    new = grpo.estimator.score(grpo.policy.denoiser(), canvas, copies).log_probs
    assert new.requires_grad and torch.equal(old, new.detach())
    assert bool((old < 0).any())


@pytest.mark.parametrize("size", [2, 3, 16])
def test_the_micro_batch_changes_nothing(train, undisturbed, size):
    whole, split = undisturbed(), train("split", grpo__micro_batch_size=size)
    near(whole.metrics(), split.metrics())
    assert whole.completions() == split.completions()


@pytest.mark.parametrize("size", [1, 3])
def test_the_rollout_batch_changes_nothing(train, undisturbed, size):
    """Groups of four, so that a batch of three cuts through them and one of one holds a single sample."""
    whole, split = undisturbed(), train("split", sampler__batch_size=size)
    near(whole.metrics(), split.metrics())
    assert whole.completions() == split.completions()


def test_the_logit_chunk_changes_nothing(train, undisturbed):
    near(undisturbed().metrics(), train("split", grpo__logit_chunk=5).metrics())


def test_torch_s_generator_is_left_alone(train, method):
    torch.manual_seed(1234)
    before = torch.random.get_rng_state()
    grpo = method(model__lora={"rank": 2, "alpha": 4.0, "dropout": 0.3}, grpo__objective__beta=0.1,
                  grpo__objective__sync_ref_steps=1)
    for index in range(2):
        grpo.step(index)
        grpo.after_step(index + 1)
    assert torch.equal(before, torch.random.get_rng_state())
    train(**{"evaluation.final_limit": 2})
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("sampler", ["low-confidence", "random", "emerge"])
def test_left_padding_changes_no_completion(method, sampler):
    grpo = method(sampler__name=sampler)
    policy, settings = grpo.policy, grpo.collector.sampler
    short, long = grpo.collector.prompts[0][:5], grpo.collector.prompts[1] * 2
    alone = generate(policy, [short], settings, Noise((0, 0), (7,)))
    beside = generate(policy, [long, short], settings, Noise((0, 0), (3, 7)))
    assert torch.equal(alone[0], beside[1])
    assert not torch.equal(beside[0], beside[1])


@pytest.mark.parametrize("estimator", ["fading-out", "uniform", "d1", "coupled"])
@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_left_padding_changes_no_log_probability(method, estimator, guidance):
    grpo = method(grpo__estimator__name=estimator, grpo__score_with_guidance=True, sampler__guidance=guidance)
    rollout = grpo.collect(0)
    rollout.prompts = [prompt * (1 + row % 3) for row, prompt in enumerate(rollout.prompts)]  # of unequal lengths

    def scores(rows):
        canvas, copies = grpo.estimator.copies(rollout, 1, rows)
        with torch.no_grad():
            return grpo.estimator.score(grpo.policy.denoiser(guidance), canvas, copies).log_probs

    together = scores(list(range(8)))
    for row in (0, 3, 5):
        torch.testing.assert_close(scores([row])[0], together[row], atol=1e-5, rtol=0)


def test_fault_4_every_update_has_a_mask_of_its_own_even_with_accumulation(method):
    """With accumulation only mu / gcd(mu, a) masks were ever used."""
    # with ratios drawn as well, equal draws would give equal masks
    grpo = method(grpo__updates=4, grpo__micro_batch_size=2, sampler__length=16, grpo__estimator__ratio="random")
    rollout = grpo.collect(0)

    def masks_of(update, batches):
        masks = [grpo.estimator.copies(rollout, update, batch)[1][0].mask for batch in batches]
        assert not any(mask[:, :-16].any() for mask in masks)  # the prompt is never masked
        return torch.cat([mask[:, -16:] for mask in masks])

    masks = [masks_of(update, grpo._micro_batches(list(range(8)))) for update in range(4)]
    for first in range(4):
        for second in range(first):
            assert not torch.equal(masks[first], masks[second])
    whole = [masks_of(update, [list(range(8))]) for update in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(masks, whole))


def test_masks_and_order_follow_the_rollout_not_the_calls(method):
    first, second = method(), method()
    a = [first.collect(0), first.collect(1)]
    b = [second.collect(1), second.collect(0)][::-1]
    for left, right in zip(a, b):
        assert left.prompts == right.prompts and torch.equal(left.responses, right.responses)
        assert torch.equal(left.old, right.old)
    assert a[0].prompts != a[1].prompts


def test_visible_tokens_have_no_gradient_and_no_score(method):
    """Fault 1: the loss of an update is over its own mask."""
    grpo = method(sampler__length=16)
    rollout = grpo.collect(0)
    canvas, copies = grpo.estimator.copies(rollout, 0, list(range(8)))
    scores = grpo.estimator.score(grpo.policy.denoiser(), canvas, copies).log_probs
    visible = ~copies[0].mask[:, canvas.start :]
    assert bool(visible.any()) and bool((scores[visible] == 0).all())
    assert bool((scores[copies[0].scored] < 0).all())


@pytest.mark.parametrize(("updates", "ratio", "drawn"), [
    (1, "schedule", False), (1, "random", True), (2, "schedule", False), (2, "random", True)])
def test_the_ratio_follows_its_schedule_or_is_drawn(method, updates, ratio, drawn):
    grpo = method(grpo__updates=updates, grpo__estimator__ratio=ratio, grpo__estimator__name="uniform",
                  grpo__estimator__min_ratio=0.0, grpo__estimator__keep_after_end=True,
                  sampler__length=64, sampler__block_length=64)
    rollout = grpo.collect(0)
    masked = grpo.estimator.copies(rollout, updates - 1, list(range(8)))[1][0].mask[:, -64:].float().mean(-1)
    assert bool((masked > 0.97).all()) is (not drawn)
    assert not drawn or masked.std() > 0.1
