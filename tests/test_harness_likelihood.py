"""LLaDA's Monte Carlo log-likelihood: its mean over all masks, worked out one by one, and its draws."""

import itertools
import math

import pytest
import torch

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'maskgrpo[lm-eval]'")

from lm_eval.api.instance import Instance

from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.harness.likelihood import is_greedy, log_likelihood, random_masks
from maskgrpo_cli.engine.harness.model import MaskGrpoLM
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.noise import Noise

CONTEXT, ANSWER = "Tom has 3 apples. How many apples now?", "\\boxed{3}"


@pytest.fixture(scope="module")
def model():
    return MaskGrpoLM(device="cpu", mc_num=64)


def term(model, prompt, answer, hidden):
    """L/l times the log-probabilities of the hidden tokens, from the model's logits."""
    ids = torch.tensor([prompt + answer])
    places = [len(prompt) + place for place in hidden]
    ids[0, places] = model.policy.modality.vocabulary.mask_id
    columns = torch.arange(ids.shape[1])[None]
    vocab = (model.policy.modality.vocabulary.first, model.policy.modality.vocabulary.last)
    with torch.no_grad():
        logits = model.policy.model(input_ids=ids, attention_mask=None, positions=columns, vocab=vocab).logits[0]
    values = logits.float().log_softmax(-1)
    return len(answer) / len(hidden) * sum(float(values[len(prompt) + p, answer[p]]) for p in hidden)


def exact(model, prompt, answer):
    """The expectation by enumeration: a count l uniform in 1..L, a mask uniform among those of that count."""
    length = len(answer)
    means = []
    for count in range(1, length + 1):
        terms = [term(model, prompt, answer, hidden) for hidden in itertools.combinations(range(length), count)]
        means.append(sum(terms) / len(terms))
    return sum(means) / length


def all_masks(length):
    """Every mask as often as makes the counts 1..L equally likely: L! / C(L, l) times."""
    rows = []
    for count in range(1, length + 1):
        times = math.factorial(length) // math.comb(length, count)
        for hidden in itertools.combinations(range(length), count):
            rows += [[place in hidden for place in range(length)]] * times
    return torch.tensor(rows)


@pytest.fixture(scope="module")
def pair(model):
    prompt, answer = model._encode_pair(CONTEXT, ANSWER)
    assert 2 <= len(answer) <= 4 and model.tokenizer.decode(prompt + answer) == CONTEXT + ANSWER
    return prompt, answer


def test_the_mean_over_all_masks_is_the_exact_value(model, pair):
    prompt, answer = pair
    value = log_likelihood(model.policy, prompt, answer, all_masks(len(answer)), model.settings.sampler)
    assert value == pytest.approx(exact(model, prompt, answer), rel=1e-5)


def test_batches_change_nothing(model, pair):
    prompt, answer = pair
    masks = all_masks(len(answer))[:7]
    values = [log_likelihood(model.policy, prompt, answer, masks,
                             model.settings.sampler.model_copy(update={"batch_size": size})) for size in (1, 3, 64)]
    assert values == pytest.approx(values[:1] * 3, rel=1e-5)


def test_a_single_token_has_one_mask(model, pair):
    prompt, answer = pair
    masks = random_masks(Noise((0,), (0, 1)), 1)
    value = log_likelihood(model.policy, prompt, answer[:1], masks, model.settings.sampler)
    assert value == pytest.approx(term(model, prompt, answer[:1], (0,)), rel=1e-5)


def test_the_estimate_comes_near_the_exact_value(model, pair):
    prompt, answer = pair
    terms = [term(model, prompt, answer, hidden) for count in range(1, len(answer) + 1)
             for hidden in itertools.combinations(range(len(answer)), count)]
    [(value, _)] = model.loglikelihood([Instance("loglikelihood", {}, (CONTEXT, ANSWER), 0)], disable_tqdm=True)
    bound = 4 * (max(terms) - min(terms)) / 2 / math.sqrt(64)  # four standard errors, each at most range / 2
    assert abs(value - exact(model, prompt, answer)) < bound


@pytest.mark.parametrize(("copies", "length"), [(12, 4), (12, 12), (5, 5), (128, 3), (3, 7), (1, 9)])
def test_counts_are_spread_evenly(copies, length):
    for key in range(8):
        counts = random_masks(Noise((key,), tuple(range(copies))), length).sum(-1).tolist()
        often = [counts.count(count) for count in range(1, length + 1)]
        assert min(counts) >= 1 and max(often) - min(often) <= 1 and sum(often) == copies


def test_masks_and_counts_are_uniform():
    masks = torch.stack([random_masks(Noise((key,), (0,)), 3)[0] for key in range(3000)])
    rows = [tuple(row) for row in masks.tolist()]
    for hidden in set(itertools.product([True, False], repeat=3)) - {(False,) * 3}:
        share = 1 / 3 / math.comb(3, sum(hidden))
        assert abs(rows.count(hidden) / 3000 - share) < 5 * math.sqrt(share * (1 - share) / 3000)
    assert (False,) * 3 not in rows


def test_draws_depend_on_the_problem_and_the_answer_only(model):
    def asked(doc, index):
        return Instance("loglikelihood", {}, (CONTEXT, ANSWER), index, metadata=("t", doc, 1))

    alone = model.loglikelihood([asked(3, 1)], disable_tqdm=True)
    among = model.loglikelihood([asked(0, 0), asked(3, 1), asked(3, 2)], disable_tqdm=True)
    assert among[1] == alone[0] and len({value for value, _ in among}) == 3


def test_greedy_is_what_the_sampler_writes(model):
    context = model.apply_chat_template([{"role": "user", "content": CONTEXT}])
    prompt, sampler = model._encode([context])[0], model.settings.sampler
    whole = sampler.model_copy(update={"length": 4, "steps": 4, "block_length": 4, "stop_at_end": False})
    written = generate(model.policy, [prompt], whole, Noise((0,), (0,)))[0].tolist()
    assert is_greedy(model.policy, prompt, written, sampler)
    for place in range(4):
        other = [*written[:place], written[place] + 1, *written[place + 1 :]]
        assert not is_greedy(model.policy, prompt, other, sampler)


def test_spaces_of_the_context_go_with_the_answer(model):
    prompt, answer = model._encode_pair("How many ", "apples")
    assert model.tokenizer.decode(prompt) == "How many" and model.tokenizer.decode(answer) == " apples"


def test_empty_sides(model):
    requests = [Instance("loglikelihood", {}, pair, 0) for pair in (("", "3"), (CONTEXT, ""))]
    (value, _), nothing = model.loglikelihood(requests, disable_tqdm=True)
    assert value == pytest.approx(term(model, [], model._encode(["3"])[0], (0,)), rel=1e-5)
    assert nothing == (0.0, True)


def test_what_is_longer_than_the_model_is_refused(model):
    with pytest.raises(UserError, match="max_sequence_length"):
        log_likelihood(model.policy, [5] * 4096, [5], torch.ones(1, 1, dtype=torch.bool), model.settings.sampler)
