"""The queue of samples and the scoring of a batch, without a network; the schema's numbers."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgrpo_cli.domains.scoring_protocol import RewardScores, ScoreResponse, Timing
from maskgrpo_cli.server.batching import Job, Queue
from maskgrpo_cli.server.frames import Answer, Raw
from maskgrpo_cli.server.refusals import Refused
from maskgrpo_cli.server.scoring import Failure, Sample, score


def job(count, rewards=("a",)):
    return Job(rewards, [Raw("", str(index), {}) for index in range(count)], [f"items[{i}]" for i in range(count)])


def answer(batch):
    """Each sample's own text as its score."""
    scores = [float(sample.completion) for sample in batch.samples]
    return Answer({name: scores for name in batch.rewards}, {}, 0.5)


def test_batches_are_full_and_in_order():
    async def run():
        queue = Queue(100, max_batch=4, max_wait=0.0)
        first, second = job(6), job(3)
        queue.put(first)
        queue.put(second)
        batches = [await queue.take() for _ in range(3)]
        assert [[(one is first, indices) for one, indices in batch.parts] for batch in batches] == [
            [(True, [0, 1, 2, 3])],
            [(True, [4, 5]), (False, [0, 1])],
            [(False, [2])],
        ]
        assert len(queue) == 0
        for batch in batches:
            batch.deliver(answer(batch))
        await first.done
        await second.done
        assert first.scores == {"a": [0, 1, 2, 3, 4, 5]} and second.scores == {"a": [0, 1, 2]}
        assert first.batches == [4, 4] and second.batches == [4, 1] and first.score_s == 1.0

    asyncio.run(run())


def test_jobs_of_other_rewards_share_no_batch():
    async def run():
        queue = Queue(100, max_batch=4, max_wait=0.0)
        for rewards in (("a",), ("b",), ("a",)):
            queue.put(job(1, rewards))
        assert [(await queue.take()).rewards for _ in range(2)] == [("a",), ("b",)]

    asyncio.run(run())


def test_a_full_batch_does_not_wait_behind_one_that_is_not():
    async def run():
        queue = Queue(100, max_batch=2, max_wait=3600)
        queue.put(job(1, ("a",)))
        queue.put(job(2, ("b",)))
        assert (await queue.take()).rewards == ("b",)
        waiting = asyncio.ensure_future(queue.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.put(job(1, ("a",)))
        assert len(await waiting) == 2

    asyncio.run(run())


def test_there_is_room_for_whole_jobs_only():
    async def run():
        queue = Queue(4, max_batch=4, max_wait=3600)
        queue.put(job(3))
        with pytest.raises(Refused) as refused:
            queue.put(job(2))
        assert refused.value.status == 429 and len(queue) == 3
        queue.put(job(1))
        assert len(queue) == 4

    asyncio.run(run())


def test_a_job_that_was_removed_leaves_its_neighbours():
    async def run():
        queue = Queue(10, max_batch=4, max_wait=0.0)
        gone, stays = job(2), job(2)
        queue.put(gone)
        queue.put(stays)
        assert queue.remove(gone) == [0, 1] and queue.remove(gone) == []
        assert (await queue.take()).parts == [(stays, [0, 1])]

    asyncio.run(run())


def test_after_a_loss_each_job_is_alone_and_the_second_loss_is_the_last():
    async def run():
        queue = Queue(100, max_batch=3, max_wait=0.0)
        one, two = job(2), job(4)
        queue.put(one)
        queue.put(two)
        lost = await queue.take()
        assert len(lost) == 3
        queue.put_back(lost)
        assert len(queue) == 6
        batches = [await queue.take() for _ in range(3)]
        assert [(batch.alone, [(j is one, sorted(i)) for j, i in batch.parts]) for batch in batches] == [
            (True, [(True, [0, 1])]),
            (True, [(False, [0, 1, 2])]),
            (True, [(False, [3])]),
        ]
        queue.put_back(batches[1])
        with pytest.raises(Refused) as refused:
            await two.done
        assert refused.value.status == 500
        batches[0].deliver(answer(batches[0]))
        batches[2].deliver(answer(batches[2]))  # too late, and no matter
        await one.done
        assert one.scores == {"a": [0, 1]} and len(queue) == 0

    asyncio.run(run())


def test_a_job_whose_two_batches_are_lost_at_once_is_tried_again():
    async def run():
        queue = Queue(100, max_batch=2, max_wait=0.0)
        one = job(4)
        queue.put(one)
        lost = [await queue.take(), await queue.take()]
        for batch in lost:
            queue.put_back(batch)
        for _ in range(2):
            batch = await queue.take()
            batch.deliver(answer(batch))
        await one.done
        assert one.scores == {"a": [0, 1, 2, 3]}

    asyncio.run(run())


def test_a_rejected_sample_ends_its_job_only():
    async def run():
        queue = Queue(10, max_batch=4, max_wait=0.0)
        bad, good = job(2), job(2)
        queue.put(bad)
        queue.put(good)
        batch = await queue.take()
        batch.deliver(answer(batch)._replace(rejected={1: "it is cut off"}))
        with pytest.raises(Refused) as refused:
            await bad.done
        assert (refused.value.status, refused.value.field) == (422, "items[1]")
        await good.done

    asyncio.run(run())


def test_scores_of_columns_errors_and_numbers():
    calls = []

    def reward(prompts, completions, **columns):
        calls.append((list(completions), columns))
        if "bad" in completions:
            raise KeyError("bad")
        return [{"nan": float("nan"), "none": None}.get(one, len(one)) for one in completions]

    samples = [Sample("", "one", {}), Sample("", "three", {"x": 1, "y": 2}), Sample("", "bad", {}),
               Sample("", "none", {"y": 4, "x": 3}), Sample("", "nan", {})]
    assert score(reward, samples) == [3.0, 5.0, Failure("KeyError: 'bad'"), None, Failure("it returned nan")]
    assert calls[0] == (["one", "bad", "nan"], {}) and calls[-1] == (["three", "none"], {"x": [1, 3], "y": [2, 4]})
    assert len(calls) == 5  # the group of three fell apart into its samples


def test_nothing_to_score_calls_nothing():
    assert score(lambda **_: 1 / 0, []) == []


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_scores_survive_the_wire_to_the_bit(values):
    timing = Timing(queue_s=0.0, score_s=0.0, total_s=0.0)
    rewards = {"a": RewardScores(version="", scores=values)}
    sent = ScoreResponse(request_id="", items=[str(i) for i in range(len(values))], rewards=rewards, timing=timing,
                         batches=[])  # fmt: skip
    back = ScoreResponse.model_validate_json(sent.model_dump_json()).rewards["a"].scores
    assert [struct.pack("d", one) for one in back] == [struct.pack("d", one) for one in values]


@pytest.mark.parametrize(
    "scores", ["[1]", "[1, 2, 3]", "[1, NaN]", "[1, Infinity]", '[1, "2"]', "[1, true]", "[1, {}]"]
)
def test_an_answer_of_wrong_length_or_kind_is_none(scores):
    text = (
        '{"request_id": "", "items": ["0", "1"], "rewards": {"a": {"version": "", "scores": %s}}, '
        '"timing": {"queue_s": 0, "score_s": 0, "total_s": 0}, "batches": [2]}'
    )
    ScoreResponse.model_validate_json(text % '[1, {"error": "x"}]')
    with pytest.raises(ValueError):
        ScoreResponse.model_validate_json(text % scores)
