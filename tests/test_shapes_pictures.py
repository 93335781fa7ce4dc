"""Reading pictures of shapes: how often it is right, what it makes of other pictures, and what a share is made of."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from shape_pictures import blurred, boxed, noisy, put, rendered, scenes, wrong_scenes

from maskgrpo_cli.domains.arithmetic import Draws
from maskgrpo_cli.domains.shapes.checking import check_pictures, reasons, share
from maskgrpo_cli.domains.shapes.drawing import DISTANCES, GROUND, PALETTE, bits, draw, layout
from maskgrpo_cli.domains.shapes.naming import colour_name
from maskgrpo_cli.domains.shapes.pixels import connected
from maskgrpo_cli.domains.shapes.reading import parse
from maskgrpo_cli.domains.shapes.seeing import look
from maskgrpo_cli.domains.shapes.words import COLOURS, SHAPES, Kind, Scene
from maskgrpo_cli.rewards.shapes import shapes

COUNT = 2000
LEFT, RIGHT = ("red", "circle", 0.27, 0.5, 0.17), ("blue", "square", 0.75, 0.5, 0.17)
PROMPT = "a red circle left of a blue square"  # six statements: two shapes, two colours, the position, no more


@pytest.fixture(scope="module")
def asked():
    return scenes(COUNT)


@pytest.fixture(scope="module")
def pictures(asked):
    return rendered(asked)


def right(of, shown):
    """The share of pictures of which all statements hold."""
    return np.mean([share(checked) == 1 for checked in check_pictures(of, list(shown))])


def judge(prompt, picture):
    [checked] = check_pictures([parse(prompt)], [picture])
    return share(checked), reasons(checked)


@pytest.mark.parametrize(
    "change", [lambda p: p, noisy, blurred, boxed, lambda p: noisy(blurred(p))],
    ids=["as drawn", "noise", "blur", "box blur", "blur and noise"],
)
def test_rendered_scenes_are_right(asked, pictures, change, record_property):
    rate = right(asked, change(pictures))
    record_property("rate", rate)
    assert rate >= 0.995


@pytest.mark.parametrize("side, count", [(48, 300), (64, 300), (256, 20)])
def test_other_sizes_are_right_too(asked, side, count):
    few = asked[:count]
    shown = rendered(few, side)
    assert right(few, shown) >= 0.995
    assert right(few, noisy(blurred(shown))) >= 0.995


def test_a_prompt_without_colours_takes_any(asked, pictures):
    bare = [Scene(tuple(Kind(kind.shape) for kind in scene.objects), scene.relation) for scene in asked[:300]]
    assert right(bare, pictures[:300]) >= 0.99


def test_wrong_pictures_are_wrong(asked):
    counted = {}
    for index, scene in enumerate(asked[:300]):
        for name, wrong in wrong_scenes(scene, Draws.of("wrong", index)).items():
            counted.setdefault(name, []).append((scene, wrong))
    assert len(counted) == 7 and min(map(len, counted.values())) > 40
    for name, pairs in counted.items():
        assert right([scene for scene, _ in pairs], rendered([wrong for _, wrong in pairs])) <= 0.005, name


def test_many_pictures_of_one_prompt_differ_and_one_key_gives_one():
    scene = parse("two red circles")
    drawn = [draw(layout(scene, Draws.of("same", index))) for index in range(20)]
    assert len({picture.tobytes() for picture in drawn}) == 20
    assert (draw(layout(scene, Draws.of("same", 7))) == drawn[7]).all()


def test_objects_keep_apart_and_inside(asked):
    for index, scene in enumerate(asked[:300]):
        placed = layout(scene, Draws.of("apart", index))
        for number, thing in enumerate(placed):
            left, top, far, bottom = thing.box
            assert min(left, top) >= 0.049 and max(far, bottom) <= 0.951
            for later in placed[number + 1 :]:
                other = later.box
                assert max(other[0] - far, left - other[2], other[1] - bottom, top - other[3]) >= 0.08


def test_on_a_lattice_a_kind_fills_a_cell_and_looks_the_same_in_each(asked):
    looks, places = {}, set()
    for index, scene in enumerate(asked[:600]):
        placed = layout(scene, Draws.of("lattice", index), cells=4)
        picture, told = draw(placed), bits(placed, 4)
        shown = np.zeros((4, 4), dtype=bool)
        for thing in placed:
            left, top, right_, bottom = thing.box
            assert right_ - left < 0.25 and bottom - top < 0.25  # nothing is cut off
            column, row = round((left + right_) * 2 - 0.5), round((top + bottom) * 2 - 0.5)
            assert (left + right_) * 2 - 0.5 == pytest.approx(column) and (top + bottom) * 2 - 0.5 == pytest.approx(row)
            patch = picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            looks.setdefault(str(thing.kind), set()).add((patch.tobytes(), tuple(told[:, row, column])))
            places.add((column, row))
            shown[row, column] = True
        assert ((told[0] > 0) == shown).all() and (told[:, ~shown] == -1).all()
    assert len(looks) == len(SHAPES) * len(COLOURS) and {len(seen) for seen in looks.values()} == {1}
    assert len({said for [(_, said)] in looks.values()}) == len(looks)  # every kind has bits of its own
    assert len(places) == 16


def test_pictures_on_a_lattice_are_right_also_with_noise_and_blurred(asked):
    shown = np.stack([draw(layout(scene, Draws.of("cells", index), 4)) for index, scene in enumerate(asked)])
    assert right(asked, shown) >= 0.995
    assert right(asked, noisy(shown)) >= 0.995
    assert right(asked, blurred(shown)) >= 0.995


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_what_is_seen_of_one_object(shape, colour):
    [[seen]] = look([put((colour, shape, 0.4, 0.6, 0.2))])
    assert (seen.colour, seen.shape) == (colour, shape)
    assert (seen.x, seen.y) == (pytest.approx(0.4, abs=0.01), pytest.approx(0.6, abs=0.01))
    grid = (np.arange(640) + 0.5) / 128 - 2.5  # the area by counting points of the unit shape
    area = (DISTANCES[shape](grid[None, :], grid[:, None]) <= 0).mean() * 25 * 0.2**2
    assert seen.area == pytest.approx(area, rel=0.06) and seen.confidence > 0.95


# --- scores by hand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt, things, score, reason",
    [
        (PROMPT, [LEFT, RIGHT], 1, ""),
        (PROMPT, [("red", "circle", 0.75, 0.5, 0.17), ("blue", "square", 0.25, 0.5, 0.17)], 5 / 6,
         "the red circle is right of the blue square"),
        (PROMPT, [("red", "circle", 0.5, 0.25, 0.17), ("blue", "square", 0.5, 0.75, 0.17)], 5 / 6,
         "the red circle is above the blue square"),
        (PROMPT, [("blue", "circle", 0.27, 0.5, 0.17), ("red", "square", 0.75, 0.5, 0.17)], 2 / 6,
         "instead of a red circle there is a red square"),
        (PROMPT, [LEFT], 3 / 6, "there is no blue square"),
        (PROMPT, [LEFT, RIGHT, ("green", "cross", 0.5, 0.15, 0.12)], 5 / 6, "there is also a green cross"),
        (PROMPT, [LEFT, RIGHT, ("green", "cross", 0.5, 0.15, 0.12), ("red", "circle", 0.5, 0.85, 0.12)], 5 / 7,
         "there is also a red circle"),
        (PROMPT, [], 0, "nothing is drawn"),
        ("a red circle", [LEFT], 1, ""),
        ("a red circle", [RIGHT], 0, "there is no red circle"),
        ("a red circle", [("red", "square", 0.5, 0.5, 0.2)], 1 / 3, "nobody asked for a red square"),
        ("a circle", [LEFT, RIGHT], 1 / 2, "there is also a blue square"),
        ("two red circles", [LEFT], 3 / 5, "there are 1 of 2 red circles"),
        ("two red circles", [LEFT, ("red", "circle", 0.75, 0.5, 0.15)], 1, ""),
        ("two red circles", [LEFT, *(("red", "circle", 0.75, y, 0.15) for y in (0.25, 0.75))], 4 / 5,
         "there is also a red circle"),
        ("a circle and a red circle", [LEFT, ("blue", "circle", 0.75, 0.5, 0.15)], 1, ""),
        ("a red circle left of a red circle", [("red", "circle", 0.75, 0.5, 0.17), LEFT], 1, ""),
    ],
)
def test_shares_and_reasons_by_hand(prompt, things, score, reason):
    found, why = judge(prompt, put(*things))
    assert found == pytest.approx(score) and reason in why and bool(why) == (score < 1)
    assert shapes([prompt], [put(*things)]) == [pytest.approx(score)]


def test_drawing_everything_never_pays():
    """With every further object the share falls, whatever was asked for."""
    more = [("green", "cross", 0.2, 0.2), ("white", "triangle", 0.8, 0.2), ("cyan", "square", 0.8, 0.8)]
    things = [("red", "circle", 0.3, 0.7, 0.15), *((*thing, 0.12) for thing in more)]
    shares = [judge("a red circle", put(*things[:count]))[0] for count in range(1, 5)]
    assert shares == [1, pytest.approx(2 / 3), pytest.approx(2 / 4), pytest.approx(2 / 5)]


# --- pictures that are no scene ---------------------------------------------------------------------


def plain(colour):
    return np.full((32, 32, 3), colour, np.uint8)


def filled(inside, colour="red", side=32):
    """A picture of the points where `inside(x, y)` holds, x and y in pixels from the middle; anti-aliased."""
    at = (np.arange(side * 8) + 0.5) / 8 - side / 2
    cover = inside(at[None, :], at[:, None]).reshape(side, 8, side, 8).mean((1, 3))[..., None]
    return np.rint(plain(GROUND) * (1 - cover) + cover * np.array(PALETTE[colour])).astype(np.uint8)


ODD = {
    "empty": plain(GROUND),
    "all red": plain(PALETTE["red"]),
    "noise": np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.uint8),
    "stripes": filled(lambda x, y: (x // 4 % 2 == 0) & (y == y)),
    "smear": filled(lambda x, y: (abs(x) < 14) & (abs(y) < 5)),
    "half circle, half square": filled(lambda x, y: np.where(y < 0, np.hypot(x, y) < 8, (abs(x) < 8) & (y < 8))),
    "small half circle, half square": filled(lambda x, y: np.where(y < 0, np.hypot(x, y) < 5, (abs(x) < 5) & (y < 5))),
    "ring": filled(lambda x, y: (np.hypot(x, y) < 8) & (np.hypot(x, y) > 4)),
    "half a circle": filled(lambda x, y: (np.hypot(x, y) < 8) & (y > 0)),
    "two circles in one": filled(lambda x, y: (np.hypot(x - 5, y) < 5.2) | (np.hypot(x + 5, y) < 5.2)),
    "diamond": filled(lambda x, y: abs(x) + abs(y) < 7),
    "rectangle": filled(lambda x, y: (abs(x) < 9) & (abs(y) < 6)),
    "L": filled(lambda x, y: (abs(x) < 8) & (abs(y) < 8) & ~((x > 0) & (y < 0))),
    "dust": filled(lambda x, y: (x % 6 < 2) & (y % 6 < 2)),
}


@pytest.mark.parametrize("name", ODD)
def test_no_prompt_about_one_object_is_satisfied_by_such_a_picture(name):
    prompts = [f"a {shape}" for shape in SHAPES] + [f"a red {shape}" for shape in SHAPES]
    assert max(shapes(prompts, [ODD[name]] * len(prompts))) < 1


@pytest.mark.parametrize("name", ["empty", "all red"])
def test_nothing_scores_nothing(name):
    assert shapes([PROMPT, "a circle", "four red crosses"], [ODD[name]] * 3) == [0, 0, 0]


def test_a_blob_of_two_colours_is_two_things():
    picture = filled(lambda x, y: np.hypot(x, y) < 8)
    picture[:, 16:] = np.where((picture[:, 16:] != GROUND).any(-1, keepdims=True), PALETTE["blue"], picture[:, 16:])
    assert len(look([picture])[0]) == 2 and judge("a red circle", picture)[0] < 1


def test_touching_shapes_of_two_colours_are_told_apart():
    """The square begins where the circle ends."""
    picture = put(("red", "circle", 0.25, 0.5, 0.18), ("yellow", "square", 0.602, 0.5, 0.18))
    assert sorted(map(str, look([picture])[0])) == ["red circle", "yellow square"]


def test_specks_are_no_objects_but_many_of_them_are_clutter():
    picture = put(LEFT, RIGHT)
    picture[3, 3:6] = picture[28, 10] = PALETTE["green"]
    assert judge(PROMPT, picture)[0] == 1
    picture[1:31:4, 1:3] = picture[1:31:4, 29:31] = picture[2:31:4, 1:3] = picture[2:31:4, 29:31] = PALETTE["green"]
    assert judge(PROMPT, picture)[0] < 1


def test_other_grounds_and_paler_colours_are_read_too():
    picture = put(LEFT, RIGHT).astype(float)
    light = np.where((picture == GROUND).all(-1, keepdims=True), 225, picture)
    assert judge(PROMPT, light.astype(np.uint8))[0] == 1
    assert judge(PROMPT, np.rint(picture * 0.7).astype(np.uint8))[0] == 1


@pytest.mark.parametrize("rgb", [(0.5, 0.5, 0.5), (0.45, 0.25, 0.1), (1, 0.4, 0.7), (0.1, 0.1, 0.1)])
def test_grey_brown_pink_and_black_have_no_name_here(rgb):
    assert colour_name(*rgb) is None


@pytest.mark.parametrize(
    "rgb, name",
    [((1, 0, 0), "red"), ((0, 1, 0), "green"), ((0, 0, 1), "blue"), ((1, 1, 0), "yellow"), ((1, 0.5, 0), "orange"),
     ((0.5, 0, 0.8), "purple"), ((0, 1, 1), "cyan"), ((1, 1, 1), "white")],
)
def test_pure_colours_have_their_names(rgb, name):
    assert colour_name(*rgb) == name


# --- kinds of pictures ------------------------------------------------------------------------------


def test_every_kind_of_picture_is_read_alike():
    picture = put(LEFT, RIGHT, side=64)
    floats = picture.astype(np.float32) / 127.5 - 1
    kinds = [picture, floats, floats.astype(np.float64), Image.fromarray(picture), torch.tensor(floats),
             torch.tensor(floats).bfloat16(), torch.tensor(picture), Image.fromarray(picture).convert("RGBA")]
    assert shapes([PROMPT] * len(kinds), kinds) == [1.0] * len(kinds)
    assert shapes([PROMPT], [np.pad(picture, ((0, 0), (20, 30), (0, 0)), mode="edge")]) == [1.0]


def test_the_smallest_picture():
    assert look([put(("red", "circle", 0.5, 0.5, 0.3), side=16)])[0][0].colour == "red"


@pytest.mark.parametrize(
    "picture", [np.zeros((15, 32, 3), np.uint8), np.zeros((32, 32), np.uint8), np.zeros((3, 32, 32), np.uint8),
                np.zeros((32, 32, 3), int), "a text", None],
)
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(ValueError, match="a picture is"):
        look([picture])


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(np.float32, st.tuples(st.integers(16, 40), st.integers(16, 40), st.just(3)),
                  elements=st.floats(width=32, allow_nan=True)),
    st.sampled_from([PROMPT, "four red circles", "a cross"]),
)
def test_any_picture_has_a_share(picture, prompt):
    [score] = shapes([prompt], [picture])
    assert 0 <= score < 1 and np.isfinite(score)


def test_a_picture_is_read_the_same_in_any_company(pictures):
    together = look(list(pictures[:70]))
    for alone, among in zip((look([picture])[0] for picture in pictures[:70:9]), together[::9], strict=True):
        assert list(map(str, alone)) == list(map(str, among))
        for one, other in zip(alone, among, strict=True):
            assert (one.x, one.y, one.confidence) == pytest.approx((other.x, other.y, other.confidence), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.int64, (2, 6, 6), elements=st.integers(-1, 1)))
def test_connected_areas_are_those_of_a_flood(classes):
    numbers = connected(classes)
    assert ((numbers < 0) == (classes < 0)).all()
    assert set(numbers[numbers >= 0].tolist()) == set(range(numbers.max() + 1))
    for start in np.argwhere(classes >= 0):
        page, reached, edge = start[0], {tuple(start[1:])}, [tuple(start[1:])]
        while edge:
            row, column = edge.pop()
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                inside = near not in reached and all(0 <= k < 6 for k in near)
                if inside and classes[page][near] == classes[tuple(start)]:
                    reached.add(near)
                    edge.append(near)
        assert {tuple(at[1:]) for at in np.argwhere(numbers == numbers[tuple(start)])} == reached


def test_a_long_winding_area_is_one():
    maze = np.full((1, 32, 32), -1)
    maze[0, ::2] = 0
    maze[0, 1::4, -1] = maze[0, 3::4, 0] = 0
    assert connected(maze).max() == 0
