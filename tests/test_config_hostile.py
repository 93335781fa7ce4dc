"""Whatever is written into a recipe, the answer is a Config or one message: never a traceback."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgrpo_cli import config
from maskgrpo_cli.config import loading, recipes, yaml_file
from maskgrpo_cli.config.schema import Config, Section
from maskgrpo_cli.errors import UserError


def key_paths(section: type[Section] = Config, prefix: str = "") -> list[str]:
    paths = []
    for name, field in section.model_fields.items():
        paths.append(prefix + name)
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, Section):
                paths += key_paths(inner, f"{prefix}{name}.")
    return paths


PATHS = key_paths()
words = st.text(max_size=8) | st.sampled_from(["math-correct", "a:b", "1e-4", "yes", "", "cpu", "grpo"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.integers(), inner, max_size=3),
    max_leaves=6,
)
spoiled = st.text(string.ascii_lowercase + "_.", max_size=12)
overrides = st.dictionaries(
    st.sampled_from(PATHS) | st.builds("{}.{}".format, st.sampled_from(PATHS), spoiled) | spoiled,
    values,
    max_size=6,
)


@settings(max_examples=80, deadline=None)
@given(overrides, st.sampled_from(["sft", "grpo", "sample", "eval", None]))
def test_wrong_values_are_mistakes_or_right(given_overrides, command):
    try:
        loaded = config.load("math", given_overrides, command)
    except UserError as error:
        assert "mistake" in str(error)
        assert all(len(line) < 2000 for line in str(error).splitlines())
    else:
        document = yaml_file.parse(config.dump(loaded), "dumped")
        assert loading.check(document, (), command) == (loaded, [])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.text(max_size=20) | st.builds("{}={}".format, st.sampled_from(PATHS), st.text(max_size=20)),
        max_size=4,
    )
)
def test_any_text_after_set(texts):
    try:
        config.load("math", texts)
    except UserError as error:
        assert str(error)


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *PATHS,
            "seed",
            ": ",
            "\n",
            "  ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            "&a ",
            "*a",
            "!!int ",
            "!!bool ",
            "!!timestamp ",
            "!!binary ",
            "!!set ",
            "!!float ",
            "<<: ",
            "? ",
            "1e-4",
            "yes",
            "'",
            '"',
            "#",
            "|",
            ">",
            "%",
            "@",
            "\t",
            "~",
            "0x",
            "._",
            "-",
        ]
    ),
    max_size=15,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(FRAGMENTS | st.text(max_size=40))
def test_any_text_as_a_recipe(text):
    try:
        loaded, mistakes = loading.check(yaml_file.parse(text, "recipe.yaml"))
    except UserError as error:
        assert str(error).startswith("recipe.yaml")
    else:
        assert isinstance(loaded, Config)
        assert all(str(mistake) for mistake in mistakes)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(words, words | st.floats(allow_nan=False) | st.integers() | st.booleans() | st.none()))
def test_what_is_written_is_read_back(tree):
    assert yaml_file.parse(yaml_file.write({"task": tree}), "x").tree == {"task": tree}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/", "a/b", "a\nb", "x" * 5000, "nul\0", "-", "~", "math.yaml"]
)
def test_any_name_of_a_recipe(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        recipes.find(name)
