"""The harness's model_args and gen_kwargs in our words: what wins, what is refused, and the sizes that come out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'maskgrpo[lm-eval]'")

from maskgrpo_cli.config.evaluation import load_benchmark
from maskgrpo_cli.engine.harness.arguments import KNOWN, Drawing, read_gen_kwargs, read_model_args
from maskgrpo_cli.engine.harness.model import MaskGrpoLM
from maskgrpo_cli.errors import UserError


def drawn(model_args, **gen_kwargs):
    return read_gen_kwargs(gen_kwargs, read_model_args(model_args))


# --- model_args -----------------------------------------------------------------------------------------


def test_without_arguments_the_settings_are_those_of_eval():
    found, expected = read_model_args({}), load_benchmark("math", "gsm8k")
    assert found.sampler == expected.sampler and found.config.model == expected.model
    assert found.sampler.name == "low-confidence" and found.sampler.temperature == 0 and found.mc_num == 128


def test_every_argument_is_read():
    given = {
        "recipe": "math-llada-8b", "mc_num": 7, "model": "runs/a", "adapter": "runs/a/adapter", "revision": "main",
        "seed": 4, "device": "cpu", "dtype": "float32", "offline": True, "sampler": "emerge", "temperature": 0.5,
        "length": 64, "steps": 32, "block_length": 8, "schedule": "cosine", "threshold": 0.8, "cache": "prefix",
        "remask_temperature": 0.5, "guidance": 1.5, "stop_at_end": False, "batch_size": 3,
    }  # fmt: skip
    assert set(given) == set(KNOWN)
    found = read_model_args(given)
    config, sampler = found.config, found.sampler
    assert found.mc_num == 7 and config.device == "cpu" and config.dtype == "float32" and config.offline
    assert (config.model.path, config.model.adapter, config.model.revision) == ("runs/a", "runs/a/adapter", "main")
    assert config.seed == 4 and config.sampler.length == 256  # the recipe's own, which evaluations lay theirs over
    for key in ("temperature", "length", "steps", "block_length", "schedule", "threshold", "cache",
                "remask_temperature", "guidance", "stop_at_end", "batch_size"):
        assert getattr(sampler, key) == given[key]
    assert sampler.name == "emerge"


def test_another_model_leaves_the_recipes_adapter_behind(tmp_path):
    recipe = tmp_path / "own.yaml"
    recipe.write_text("model: {path: base, adapter: own, revision: v1}\n")
    assert read_model_args({"recipe": str(recipe)}).config.model.adapter == "own"
    changed = read_model_args({"recipe": str(recipe), "model": "other"}).config.model
    assert (changed.path, changed.adapter, changed.revision) == ("other", None, None)


def test_the_recipe_that_fits_the_model_is_taken():
    assert read_model_args({"model": "GSAI-ML/LLaDA-8B-Instruct"}).sampler.length == 256
    assert read_model_args({"model": "tiny-math"}).sampler.length == 24


def test_unknown_arguments_are_one_error():
    with pytest.raises(UserError) as error:
        read_model_args({"lenght": 8, "pretrained": "x", "qqqqqq": 1})
    assert str(error.value) == (
        "model_args: unknown: 'lenght' (did you mean 'length'?), 'pretrained' (did you mean 'model'?), 'qqqqqq'\n"
        f"  known: {', '.join(KNOWN)}"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"length": 26}, "must divide evaluation.length = 26"),
        ({"steps": "many"}, r'evaluation.steps = "many" \(model_args steps\): a whole number'),
        ({"temperature": -1}, r"model_args temperature"),
        ({"sampler": "nosuch"}, "unknown sampler"),
        ({"recipe": "nosuch"}, "nosuch"),
        ({"device": "cuda:1"}, "model_args device"),
        ({"mc_num": 0}, "mc_num = 0"),
        ({"mc_num": True}, "mc_num = True"),
    ],
)
def test_wrong_values_are_told_with_their_origin(given, said):
    with pytest.raises(UserError, match=said):
        read_model_args(given)


def test_defaults_of_the_harness_leave_ours_in_effect(monkeypatch):
    seen = []
    monkeypatch.setattr(MaskGrpoLM, "__init__", lambda self, **given: seen.append(given))
    default = {"batch_size": 1, "max_batch_size": None, "device": "cuda:0"}
    MaskGrpoLM.create_from_arg_obj({"length": 8}, default)
    MaskGrpoLM.create_from_arg_string("length=8,temperature=0.5", {"batch_size": "16", "device": "cpu"})
    MaskGrpoLM.create_from_arg_obj({"batch_size": 1, "device": "cpu"}, {"batch_size": 32, "device": "cuda"})
    MaskGrpoLM.create_from_arg_obj({}, {"batch_size": "auto:4"})
    MaskGrpoLM.create_from_arg_obj({}, None)
    assert seen == [
        {"length": 8},
        {"length": 8, "temperature": 0.5, "batch_size": 16, "device": "cpu"},
        {"batch_size": 1, "device": "cpu"},
        {"batch_size": "auto:4"},
        {},
    ]


# --- gen_kwargs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_args", "gen_kwargs", "temperature"),
    [
        ({}, {}, 0),  # the recipe's
        ({}, {"temperature": 0.7}, 0.7),
        ({}, {"temperature": 0.7, "do_sample": True}, 0.7),
        ({}, {"temperature": 0.7, "do_sample": False}, 0),
        ({"temperature": 1}, {}, 1),
        ({"temperature": 1}, {"temperature": 0.0, "do_sample": False}, 1),  # what model_args name stands
    ],
)
def test_temperature(model_args, gen_kwargs, temperature):
    assert drawn(model_args, **gen_kwargs).sampler.temperature == temperature


@pytest.mark.parametrize(
    ("model_args", "asked", "length", "steps", "tokens"),
    [
        ({}, None, 24, 24, 24),
        ({}, 48, 48, 48, 48),  # as many steps a token as the recipe
        ({}, 6, 8, 8, 6),  # whole blocks of 4, of which 6 tokens count
        ({"steps": 12}, 48, 48, 12, 48),
        ({"length": 16, "steps": 16}, 512, 16, 16, 16),  # a named length stands
        ({"recipe": "math-llada-8b"}, 1, 16, 8, 1),
    ],
)
def test_length(model_args, asked, length, steps, tokens):
    found = drawn(model_args, **({} if asked is None else {"max_gen_toks": asked}))
    assert (found.sampler.length, found.sampler.steps, found.tokens) == (length, steps, tokens)
    if asked:
        assert drawn(model_args, max_new_tokens=asked) == drawn(model_args, max_tokens=asked) == found


@given(st.integers(1, 5000))
@settings(max_examples=50, deadline=None)
def test_any_length_makes_whole_blocks_with_a_step_each(tokens):
    sampler = drawn({}, max_gen_toks=tokens).sampler
    assert tokens <= sampler.length < tokens + sampler.block_length
    assert sampler.length % sampler.block_length == 0 and sampler.steps >= sampler.length // sampler.block_length


@pytest.mark.parametrize(
    "harmless",
    [{"top_p": 1.0}, {"num_beams": 1}, {"top_p": 0.9, "top_k": 50}, {"top_p": None}, {"top_k": 0, "temperature": 1}],
)
def test_what_has_no_effect_is_let_through(harmless):
    drawn({}, **harmless)


@pytest.mark.parametrize(
    ("gen_kwargs", "said"),
    [
        ({"top_p": 0.9, "temperature": 1}, "top_p = 0.9"),
        ({"top_k": 50, "temperature": 1}, "top_k = 50"),
        ({"num_beams": 4}, "num_beams = 4"),
        ({"repetition_penalty": 1.1}, "repetition_penalty = 1.1"),
        ({"max_length": 10}, "max_length = 10.*known: until, temperature, do_sample, max_gen_toks"),
        ({"do_sample": True}, "do_sample = True with temperature 0"),
        ({"temperature": -0.1}, "temperature = -0.1"),
        ({"temperature": "hot"}, "temperature = hot"),
        ({"max_gen_toks": 0}, "max_gen_toks = 0"),
        ({"max_gen_toks": 2.5}, "max_gen_toks = 2.5"),
        ({"until": 3}, "until = 3"),
        ({"until": ["a", 3]}, "until = "),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(gen_kwargs, said):
    with pytest.raises(UserError, match=said):
        drawn({}, **gen_kwargs)


def test_named_steps_that_are_too_few_for_the_asked_length():
    with pytest.raises(UserError, match="steps = 6: at least 12, one for each block of 4 in the 48 tokens"):
        drawn({"steps": 6}, max_gen_toks=48)


@pytest.mark.parametrize(
    ("until", "text", "kept"),
    [
        ([], "a\n\nb", "a\n\nb"),
        ("\n\n", "a\n\nb", "a"),
        (["Q:", "\n"], "a\nQ: b", "a"),  # the first in the text, not in the list
        (["", "z"], "abc", "abc"),  # an empty stop string stops nothing
        (["a"], "abc", ""),
        (["b", "ab"], "cab", "c"),
    ],
)
def test_the_first_stop_string_cuts(until, text, kept):
    found = drawn({}, until=until)
    assert isinstance(found, Drawing) and found.cut(text) == kept
