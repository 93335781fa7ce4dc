"""Prompts about shapes: what is read from them, what is written, and what is refused and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shape_pictures import put

from maskgrpo_cli.domains.arithmetic import Draws
from maskgrpo_cli.domains.shapes.reading import NotAScene, parse
from maskgrpo_cli.domains.shapes.words import (
    COLOURS,
    MOST,
    RELATIONS,
    SHAPES,
    Kind,
    Scene,
    Statement,
    describe,
    in_words,
    scene_of,
    statements,
    vocabulary,
)
from maskgrpo_cli.rewards.shapes import shapes

RED_CIRCLE, BLUE_SQUARE, CROSS = Kind("circle", "red"), Kind("square", "blue"), Kind("cross")
kinds = st.builds(Kind, st.sampled_from(SHAPES), st.none() | st.sampled_from(COLOURS))
some_scenes = st.builds(Scene, st.lists(kinds, min_size=1, max_size=MOST).map(tuple)) | st.builds(
    Scene, st.tuples(kinds, kinds), st.sampled_from(list(RELATIONS))
)


@pytest.mark.parametrize(
    "prompt, objects, relation",
    [
        ("a red circle left of a blue square", (RED_CIRCLE, BLUE_SQUARE), "left of"),
        ("A RED CIRCLE to the left of the blue square.", (RED_CIRCLE, BLUE_SQUARE), "left of"),
        ("red circle is on the left of blue square", (RED_CIRCLE, BLUE_SQUARE), "left of"),
        ("a blue square to the right of one red circle", (BLUE_SQUARE, RED_CIRCLE), "right of"),
        ("a cross on top of a red circle", (CROSS, RED_CIRCLE), "above"),
        ("a cross over a red circle", (CROSS, RED_CIRCLE), "above"),
        ("a cross that is underneath a red circle", (CROSS, RED_CIRCLE), "below"),
        ("a photo of a red circle", (RED_CIRCLE,), None),
        ("Please draw me a picture of two red circles!", (RED_CIRCLE,) * 2, None),
        ("draw 3 crosses", (CROSS,) * 3, None),
        ("there are four crosses", (CROSS,) * 4, None),
        ("  two\tred circles\nand a blue square ", (RED_CIRCLE, RED_CIRCLE, BLUE_SQUARE), None),
        ("a cross, a red circle, and a blue square", (CROSS, RED_CIRCLE, BLUE_SQUARE), None),
        ("a red circle and a red circle", (RED_CIRCLE,) * 2, None),
    ],
)
def test_natural_ways_to_say_a_scene(prompt, objects, relation):
    assert parse(prompt) == Scene(objects, relation)


@pytest.mark.parametrize(
    "prompt, why",
    [
        ("", "names no shape"),
        ("...", "names no shape"),
        ("a photo of a dog", "'dog' is no shape; known: circle, square, triangle, cross"),
        ("a big circle", "'big' is no colour; known: red, "),
        ("a red blue circle", "'red blue' is no colour"),
        ("five circles", "'five' is no count from 1 to 4"),
        ("0 circles", "'0' is no count"),
        ("circles", "how many circles? write one, two, three, four"),
        ("three circles and two squares", "at most 4 objects are understood, not 5"),
        ("two circles left of a square", "'left of' is understood of two single objects, not of 3"),
        ("a circle left of a square and a cross", "without 'and'"),
        ("a circle left of a square above a cross", "'above' is a second one"),
        ("a circle and ", "'and' is no shape"),
        ("a circle, , a square", "an object is missing"),
        ("a red circle next to a square", "'next' is no colour"),
        ("circle " * 100, "longer than 400 characters"),
    ],
)
def test_what_is_not_understood_is_named(prompt, why):
    with pytest.raises(NotAScene) as error:
        parse(prompt)
    assert why in str(error.value)


def test_statements_by_hand():
    scene = parse("a red circle left of a square")
    assert statements(scene) == [
        Statement("shape", 0, "circle"), Statement("colour", 0, "red"), Statement("shape", 1, "square"),
        Statement("position", 0, "left of"), Statement("only"),
    ]
    assert in_words(scene) == [
        "there is a circle", "the circle is red", "there is a square", "the circle is left of the square",
        "nothing else is drawn",
    ]
    assert in_words(parse("two orange crosses"))[:3] == [
        "there is cross 1 of 2", "cross 1 of 2 is orange", "there is cross 2 of 2",
    ]


def test_canonical_prompts_by_hand():
    assert describe(Scene((RED_CIRCLE, RED_CIRCLE, BLUE_SQUARE))) == "two red circles and a blue square"
    assert describe(Scene((Kind("cross", "orange"), CROSS, RED_CIRCLE))) == "an orange cross, a cross and a red circle"
    assert describe(Scene((RED_CIRCLE, RED_CIRCLE), "above")) == "a red circle above a red circle"


@given(some_scenes)
def test_a_prompt_says_its_scene_and_nothing_else(scene):
    assert parse(describe(scene)) == scene


@given(some_scenes, st.integers(0, 10_000))
def test_every_way_to_say_it_is_read_back_and_in_the_vocabulary(scene, key):
    prompt = describe(scene, Draws.of(key))
    assert parse(prompt) == scene
    assert set(prompt.replace(",", " ,").replace(".", " .").split()) <= set(vocabulary())


@given(some_scenes)
def test_statements_say_the_scene(scene):
    assert scene_of(statements(scene)) == scene
    assert len(in_words(scene)) == len(statements(scene)) == len(set(in_words(scene)))


def test_the_vocabulary_is_small_and_without_doubles():
    assert len(vocabulary()) == len(set(vocabulary())) < 60


@pytest.mark.parametrize(
    "objects, relation", [((), None), ((CROSS,) * 5, None), ((CROSS,), "above"), ((CROSS,) * 2, "by")]
)
def test_impossible_scenes_are_refused(objects, relation):
    with pytest.raises(ValueError, match="objects"):
        Scene(objects, relation)


words = st.sampled_from([*vocabulary(), "of", "is", "é", "红色", "\u202e", "\x00", "9" * 50, "²", "ſ", "İ"])


@given(st.text() | st.lists(words, max_size=40).map(" ".join))
def test_any_text_is_read_or_refused(prompt):
    try:
        scene = parse(prompt)
    except NotAScene as error:
        assert len(str(error)) < 200
    else:
        assert parse(describe(scene)) == scene


def test_the_reward_does_not_apply_to_prompts_that_are_not_understood():
    picture = put(("red", "circle", 0.5, 0.5, 0.2))
    hostile = ["a dog", "", "a red circle" * 10**5, "\ud800", "\u202ea red circle", "红色的圆"]
    assert shapes(hostile, [picture] * len(hostile)) == [None] * len(hostile)
    assert shapes(["a dog", "a red circle", "x"], [picture] * 3) == [None, 1.0, None]
    assert shapes([], []) == []
