"""The embedded task of shapes: disjoint splits, balanced categories, pictures that answer their prompts."""

import hashlib
import json
from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pytest
from shape_pictures import put

from maskgrpo_cli import registry
from maskgrpo_cli.domains.shapes.reading import parse
from maskgrpo_cli.domains.shapes.splits import CATEGORIES
from maskgrpo_cli.domains.shapes.words import COLOURS, SHAPES, in_words
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.shapes import SIZES

TASK = registry.resolve("task", "shapes")
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def problems():
    return {split: TASK.load(None, split) for split in SPLITS}


def drawn(problem):
    return parse(problem.target)


def combination(scene):
    """What no two splits share: a kind with its count, or a pair of kinds."""
    kinds = sorted({str(kind) for kind in scene.objects})
    return (kinds[0], len(scene.objects)) if len(kinds) == 1 else tuple(kinds)


def test_registered_with_its_reward():
    assert TASK.name == "shapes" and list(TASK.rewards) == ["shapes"]
    assert registry.resolve("reward", "shapes")(["a cross"], [put(("red", "cross", 0.5, 0.5, 0.2))]) == [1.0]


def test_default_sizes_and_balanced_categories(problems):
    assert {split: len(rows) for split, rows in problems.items()} == SIZES == {
        "train": 20_000, "validation": 512, "test": 512,
    }
    for rows in problems.values():
        counted = Counter(problem.columns["category"] for problem in rows)
        assert set(counted) == set(CATEGORIES) and max(counted.values()) - min(counted.values()) <= 1


def test_no_split_draws_what_another_draws(problems):
    seen = {split: {combination(drawn(problem)) for problem in rows} for split, rows in problems.items()}
    for one, other in combinations(SPLITS, 2):
        assert not seen[one] & seen[other]


def test_prompts_with_all_colours_are_in_one_split_only(problems):
    prompts = defaultdict(set)
    for split, rows in problems.items():
        for problem in rows:
            scene = parse(problem.prompt)
            if all(kind.colour for kind in scene.objects):
                prompts[combination(scene)].add(split)
    assert len(prompts) > 300 and all(len(splits) == 1 for splits in prompts.values())


def test_every_category_of_every_split_has_all_colours_and_shapes(problems):
    for rows in problems.values():
        for category in CATEGORIES:
            kinds = {kind for p in rows if p.columns["category"] == category for kind in drawn(p).objects}
            assert {kind.colour for kind in kinds} == set(COLOURS) and {kind.shape for kind in kinds} == set(SHAPES)


def test_the_prompt_says_part_of_what_is_drawn(problems):
    for rows in problems.values():
        for problem in rows[:2000]:
            asked, scene = parse(problem.prompt), drawn(problem)
            assert asked.relation == scene.relation and len(asked.objects) == len(scene.objects)
            for wanted, kind in zip(asked.objects, scene.objects):
                assert wanted.shape == kind.shape and wanted.colour in (None, kind.colour) and kind.colour
            assert problem.columns["statements"] == in_words(asked)


def test_categories_are_what_they_are_called(problems):
    for problem in problems["train"][:3000]:
        scene, category = parse(problem.prompt), problem.columns["category"]
        count, colours = len(scene.objects), [kind.colour for kind in scene.objects]
        assert (scene.relation is not None) == (category == "position")
        if category in ("single object", "two objects"):
            assert count == 1 + (category == "two objects") and colours == [None] * count
        if category in ("colours", "attribute binding"):
            assert None not in colours and count == 1 + (category == "attribute binding")
        if category == "counting":
            assert 2 <= count <= 4 and max(Counter(scene.objects).values()) >= 2


def test_pictures_answer_their_prompts(problems):
    rows = problems["train"][:300] + problems["test"][:100]
    verdicts = [TASK.judge(TASK.picture(problem), problem) for problem in rows]
    assert np.mean([verdict.correct for verdict in verdicts]) >= 0.995
    assert all(0 <= verdict.score <= 1 for verdict in verdicts)


def test_a_picture_is_a_function_of_problem_index_and_side():
    problem = TASK.problem("train", 3)
    first = TASK.picture(problem, 0)
    assert first.shape == (32, 32, 3) and first.dtype == np.uint8
    assert (first == TASK.picture(problem, 0)).all() and (first != TASK.picture(problem, 1)).any()
    assert TASK.picture(problem, 0, side=64).shape == (64, 64, 3)


def test_a_verdict_says_what_is_seen_and_what_is_wrong():
    problem = TASK.restore("a red circle", None, "one")
    verdict = TASK.judge(put(("red", "square", 0.5, 0.5, 0.2)), problem)
    assert (verdict.answer, verdict.correct) == ("red square", False)
    assert verdict.score == pytest.approx(1 / 3)
    assert verdict.reason == "instead of a red circle there is a red square; nobody asked for a red square"


def test_words_of_all_prompts_are_in_the_vocabulary(problems):
    known = set(TASK.vocabulary())
    for rows in problems.values():
        for problem in rows:
            assert set(problem.prompt.replace(".", " .").split()) <= known


def test_problems_are_pinned():
    """The problems must never change under a model that was trained on them."""
    rows = [TASK.problem(split, index) for split in SPLITS for index in range(60)]
    rows = [[problem.prompt, problem.target] for problem in rows]
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] == "4974d07329b25a71"


def test_a_file_of_prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Two red circles."}\n{"prompt": "a cross above a square"}\n')
    rows = TASK.load(str(path), "test")
    assert [row.prompt for row in rows] == ["Two red circles.", "a cross above a square"]
    picture = TASK.picture(rows[0])
    assert TASK.judge(picture, rows[0]).correct and not TASK.judge(picture, rows[1]).correct


def test_mistakes_of_users(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a dog"}\n')
    with pytest.raises(UserError, match="row 1: .*'dog' is no shape"):
        TASK.load(str(path), "test")
    with pytest.raises(UserError, match="has no split 'dev'; it has: train, validation, test"):
        TASK.load(None, "dev")
    with pytest.raises(ValueError, match="'dog' is no shape"):
        TASK.restore("a dog", None, "one")

