"""Recipes: read as people mean them, and every mistake told at once."""

import pytest
import yaml

from maskgrpo_cli import config
from maskgrpo_cli.config import describe, recipes, yaml_file
from maskgrpo_cli.config.evaluation import load_benchmark
from maskgrpo_cli.config.schema import Config, Section
from maskgrpo_cli.errors import UserError


@pytest.fixture
def recipe(tmp_path):
    """Writes YAML text to a file and gives its name."""

    def write(text: str, name: str = "mine.yaml") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def mistakes(*arguments) -> list[str]:
    """The lines of the message, one for each mistake."""
    with pytest.raises(UserError) as caught:
        config.load(*arguments)
    return str(caught.value).split("\n  ")[1:]


def mistake(*arguments) -> str:
    lines = mistakes(*arguments)
    assert len(lines) == 1, lines
    return lines[0]


# --- what is right ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize("command", ["sft", "grpo", "sample", "eval", None])
def test_every_bundled_recipe_is_right_for_every_command(name, command):
    assert config.load(name, {}, command).description


@pytest.mark.parametrize("name", recipes.names())
def test_a_dumped_config_runs_again_as_an_equal_one(name, recipe):
    first = config.load(
        name, {"output_dir": "runs/1e-4", "model.revision": "007", "task.columns": {"yes": "0x1F"}}
    )
    text = config.dump(first)
    assert text.startswith("# Resolved by maskgrpo ")
    assert config.load(recipe(text)) == first


def test_an_empty_file_is_a_recipe_of_defaults(recipe):
    assert config.load(recipe("")) == Config()


def test_values_are_read_as_people_mean_them(recipe):
    text = """
seed: 010
offline: yes
model: {gradient_checkpointing: on, merge: off, revision: 2024-01-01}
sampler: {temperature: 1, guidance: 5e-1}
grpo: {optimizer: {lr: 1e-4, eps: 1E-9, betas: [0, 0.95]}, steps: 1_000}
task: {columns: {question: "1:30"}}
"""
    loaded = config.load(recipe(text))
    assert loaded.seed == 10 and loaded.offline is True
    assert (loaded.model.gradient_checkpointing, loaded.model.merge) == (True, False)
    assert loaded.model.revision == "2024-01-01"
    assert isinstance(loaded.sampler.temperature, float) and loaded.sampler.guidance == 0.5
    assert (loaded.grpo.optimizer.lr, loaded.grpo.optimizer.eps) == (1e-4, 1e-9)
    assert loaded.grpo.optimizer.betas == (0.0, 0.95) and loaded.grpo.steps == 1000
    assert loaded.task.columns == {"question": "1:30"}


def test_every_key_is_described():
    def undescribed(section: type[Section], path: str):
        for name, field in section.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, Section):
                yield from undescribed(inner, f"{path}{name}.")
            elif not field.description:
                yield path + name

    assert list(undescribed(Config, "")) == []


# --- overrides --------------------------------------------------------------------------------------


def test_set_takes_yaml_and_a_later_one_wins():
    loaded = config.load("math", ["grpo.steps=3", "grpo.optimizer.lr=5e-5", "tracker=null", "grpo.steps=4"])
    assert (loaded.grpo.steps, loaded.grpo.optimizer.lr, loaded.tracker) == (4, 5e-5, None)


def test_set_opens_a_section_that_the_recipe_leaves_out():
    assert config.load("math", ["model.lora.rank=4"]).model.lora.rank == 4


def test_set_takes_reward_names_with_dots():
    loaded = config.load("math", ["task.rewards.my.module:reward=0.5"])
    assert loaded.task.rewards["my.module:reward"] == 0.5 and "math-correct" in loaded.task.rewards


def test_set_replaces_a_mapping_as_a_whole():
    assert config.load("math", ["task.rewards={math-correct: 1}"]).task.rewards == {"math-correct": 1.0}


def test_a_mapping_of_python_values_is_taken_as_it_is():
    assert config.load("math", {"seed": 7, "model.path": "1e-4"}).model.path == "1e-4"


@pytest.mark.parametrize("text", ["foo", "", "=3", "a..b=4", ".=1"])
def test_set_without_a_key_or_value(text):
    assert "write key.path=value, such as grpo.steps=50" in mistake("math", [text])


def test_set_with_broken_yaml():
    assert "not valid YAML" in mistake("math", ["seed=[1"])


# --- single keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("sampler.steps='4'", 'sampler.steps = "4" (--set): a whole number, at least 1 (without quotes)'),
        ("sampler.steps=4.5", "sampler.steps = 4.5 (--set): a whole number, at least 1"),
        ("sampler.steps=true", "sampler.steps = true (--set): a whole number, at least 1"),
        ("sampler.steps=-1", "sampler.steps = -1 (--set): a whole number, at least 1"),
        ("sampler.temperature=yes", "sampler.temperature = true (--set): a number, at least 0"),
        ("sampler.temperature=.nan", "sampler.temperature = nan (--set): a number, at least 0"),
        ("sampler.temperature=.inf", "sampler.temperature = inf (--set): a number, at least 0"),
        ("offline=1", "offline = 1 (--set): true or false"),
        ("model.path=4", "model.path = 4 (--set): text, not empty (in quotes)"),
        ("model.path=", "model.path = null (--set): text, not empty"),
        ("grpo.group_size=1", "grpo.group_size = 1 (--set): a whole number, at least 2"),
        ("grpo.estimator.min_ratio=1", "grpo.estimator.min_ratio = 1 (--set): a number, at least 0, below 1"),
        (
            "grpo.optimizer.betas=[0.9]",
            "grpo.optimizer.betas = [0.9] (--set): a list of 2, each a number, at least 0, below 1",
        ),
        (
            "evaluation.temperatures=[]",
            "evaluation.temperatures = [] (--set): a list, not empty, each a number, at least 0",
        ),
        (
            "evaluation.temperatures=[0, hot]",
            'evaluation.temperatures[1] = "hot" (--set): a number, at least 0 (without quotes)',
        ),
        ("dtype=bf16", "dtype = \"bf16\" (--set): one of float32, bfloat16; did you mean 'bfloat16'?"),
        ("device=cda", "device = \"cda\" (--set): one of auto, cpu, cuda, mps; did you mean 'cuda'?"),
        ("tracker=x", 'tracker = "x" (--set): one of tensorboard, wandb, or null'),
        ("task.limit=0", "task.limit = 0 (--set): a whole number, at least 1, or null"),
        ("seed=4294967296", "seed = 4294967296 (--set): a whole number, at least 0, at most 4294967295"),
        ("task.columns=[a]", "task.columns = ['a'] (--set): a mapping from names to values, each text"),
        ("task.rewards={3: 1}", "task.rewards.3 = 1 (--set): a key is text; put it in quotes"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(setting, told):
    assert mistake("math", [setting]) == told


def test_a_section_that_is_none(recipe):
    assert mistake(recipe("seed: 1\nsampler: 3\n"), ["sampler.steps=4"]).startswith(
        "sampler = 3 (line 2): a section with the keys name, length, steps"
    )


def test_an_unknown_key_names_the_nearest_and_all(recipe):
    line = mistake(recipe("sampler:\n  blok_length: 8\n"))
    assert line.startswith("sampler.blok_length = 8 (line 2): unknown key; known here: name, length, steps, ")
    assert line.endswith("did you mean 'block_length'?")
    assert mistake(recipe("3: 4\n")) == "3 = 4: a key is text; put it in quotes"


@pytest.mark.parametrize(
    ("key", "value", "kind", "nearest"),
    [
        ("task.name", "gsm8", "task", "gsm8k"),
        ("sampler.name", "radnom", "sampler", "random"),
        ("evaluation.sampler", "low-confidense", "sampler", "low-confidence"),
        ("grpo.estimator.name", "fading", "estimator", "fading-out"),
        ("grpo.advantage", "centre-only", "advantage", "center-only"),
        ("grpo.objective.name", "grop", "objective", "grpo"),
    ],
)
def test_unknown_names(key, value, kind, nearest):
    line = mistake("math", {key: value})
    assert line.startswith(f'{key} = "{value}": unknown {kind}; known: ')
    assert line.endswith(f"or your own as module.path:attribute; did you mean '{nearest}'?")


def test_an_unknown_reward():
    assert "did you mean 'math-correct'?" in mistake("math", ["task.rewards.math-corect=1"])


@pytest.mark.parametrize("name", ["my.module:function", "mine:f"])
def test_a_part_of_ones_own_is_known(name):
    assert config.load("math", {"sampler.name": name, f"task.rewards.{name}": 1.0}).sampler.name == name


@pytest.mark.parametrize("name", [":", "a:", ":b", "a:b:c", "a b:c", "3:4"])
def test_what_cannot_be_a_module_and_attribute(name):
    assert "unknown sampler" in mistake("math", {"sampler.name": name})


# --- several keys together --------------------------------------------------------------------------


def test_the_block_must_divide_the_length():
    assert mistake("math", ["sampler.block_length=8", "sampler.length=20"]).endswith(
        "must divide sampler.length = 20, as 5 or 10 would; or set the length to 16 or 24"
    )


def test_every_block_needs_a_step():
    assert mistake("math", ["sampler.block_length=8", "sampler.steps=2"]) == (
        "sampler.steps = 2 (--set): at least 3, one step for each block of 8 in sampler.length = 24"
    )
    assert config.load("math", ["sampler.block_length=8", "sampler.steps=3"]).sampler.steps == 3


def test_the_evaluations_own_sampler_is_checked():
    assert mistake("math", ["evaluation.block_length=7"]).startswith(
        "evaluation.block_length = 7 (--set): must divide sampler.length = 24"
    )
    assert mistake("math", ["evaluation.block_length=8", "evaluation.steps=1"]).startswith(
        "evaluation.steps = 1 (--set): at least 3"
    )
    loaded = config.load("math", ["evaluation.length=30", "evaluation.block_length=10"])
    assert loaded.evaluation_sampler().length == 30 and loaded.sampler.length == 24


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["sft.from_scratch.n_heads=3"], "sft.from_scratch.d_model = 128 "),
        (["sft.from_scratch.n_heads=128"], "must be even for rotary embeddings, here it is 1"),
        (["sft.from_scratch.n_kv_heads=3"], "a divisor of n_heads = 4"),
        (["model.lora.targets=[q_proj, o_proj]"], "did you mean 'attn_out'?"),
        (["model.merge=true"], "needs an adapter to merge"),
        (["grpo.objective.sync_ref_steps=4"], "0 while grpo.objective.beta is 0"),
        (["task.rewards={}"], "at least one reward with a weight other than 0"),
        (["task.rewards={math-correct: 0}"], "at least one reward with a weight other than 0"),
    ],
)
def test_combinations(settings, told):
    assert told in mistake("math", settings, "grpo")


def test_an_adapter_on_random_weights_matters_to_sft_only():
    assert "take out this or sft.from_scratch" in mistake("math", ["model.lora.rank=4"], "sft")
    assert config.load("math", ["model.lora.rank=4"], "grpo").model.lora


# --- all at once ------------------------------------------------------------------------------------

MANY = """
seed: true
seed: 4
sampler: {length: "24", block_length: 7, steps: 2.5, name: radnom}
model: {lora: {targets: [o_proj]}}
grpo:
  group_size: 1
  objective: {sync_ref_steps: 4}
task: {rewards: {math-corect: 1}}
sft: {from_scratch: {d_model: 130}}
"""


def test_all_mistakes_of_file_and_overrides_in_one_message(recipe):
    lines = mistakes(recipe(MANY), ["grpo.steps=0", "oops"])
    keys = [line.split(" ")[0] for line in lines]
    assert sorted(keys) == sorted(
        [
            "seed",
            "oops",
            "sampler.length",
            "sampler.steps",
            "sampler.name",
            "grpo.group_size",
            "grpo.steps",
            "model.lora.targets[0]",
            "grpo.objective.sync_ref_steps",
            "task.rewards.math-corect",
            "sft.from_scratch.d_model",
        ]
    )
    assert "given twice, first in line 2; keep one" in lines[0] and "(line 3)" in lines[0]


def test_a_combination_is_silent_where_one_of_its_keys_is_wrong(recipe):
    # the default in place of the wrong length would make block_length look wrong, too
    assert mistake(recipe("sampler: {length: x, block_length: 7}")).startswith("sampler.length")
    assert mistake(recipe("sampler: {lenth: 21, block_length: 7, steps: 30}")).startswith("sampler.lenth")


def test_a_list_with_two_mistakes_leaves_its_section_alone(recipe):
    lines = mistakes(recipe("evaluation: {temperatures: [a, b], block_length: 7}\n"))
    assert [line.split(" ")[0] for line in lines] == [
        "evaluation.temperatures[0]",
        "evaluation.temperatures[1]",
        "evaluation.block_length",
    ]


# --- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("seed: 1\nmodel: {path: [}\n", ":2:16: not valid YAML"),
        ("a: b: c\n", ":1:5: not valid YAML"),
        ("seed: !!python/object:os.system x\n", ":1:7: not valid YAML"),
        ("? [a]\n: 1\n", ":1:3: not valid YAML"),
    ],
)
def test_broken_yaml_names_line_and_column(recipe, text, place):
    name = recipe(text)
    with pytest.raises(UserError) as caught:
        config.load(name)
    assert str(caught.value).startswith(name + place), str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n", "4\n"])
def test_a_recipe_is_a_mapping(recipe, text):
    with pytest.raises(UserError, match="a recipe is a mapping of keys"):
        config.load(recipe(text))


def test_several_documents_nesting_and_bytes(recipe, tmp_path):
    for text in ("a: 1\n---\nb: 2\n", "a: " + "[" * 5000, "seed: " + "9" * 5000, "a: &x [*x]\nb: \x07\n"):
        with pytest.raises(UserError):
            config.load(recipe(text))
    (tmp_path / "bytes.yaml").write_bytes(b"seed: \xff\xfe\n")
    with pytest.raises(UserError, match="not UTF-8"):
        config.load(str(tmp_path / "bytes.yaml"))


def test_a_missing_recipe_names_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no recipe 'mth'; did you mean 'math'"):
        config.load("mth")
    with pytest.raises(UserError, match="there is no file 'math2.yaml'; did you mean 'math'"):
        config.load("math2.yaml")
    with pytest.raises(UserError, match="a folder without a config.yaml"):
        config.load(str(tmp_path))


def test_a_run_directory_is_a_recipe(tmp_path):
    run = tmp_path / "mine-grpo-20250102-030405"
    run.mkdir()
    (run / "config.yaml").write_text(config.dump(config.load("math", {"seed": 5})))
    assert config.load(str(run)).seed == 5
    assert recipes.label(str(run)) == "mine" and recipes.is_run(str(run))
    assert recipes.for_model(str(run)) == str(run)
    assert recipes.for_model("GSAI-ML/LLaDA-8B-Instruct") == "math-llada-8b"
    assert recipes.for_model("some/other") is None


# --- evaluation -------------------------------------------------------------------------------------


def test_a_benchmark_runs_as_evaluations_of_training_do():
    loaded = load_benchmark("math", "arithmetic", ["evaluation.length=16", "evaluation.temperatures=[0.5]"])
    assert (loaded.task.name, loaded.task.split, loaded.task.rewards) == ("arithmetic", "test", {})
    sampler = loaded.sampler
    assert (sampler.name, sampler.length, sampler.block_length, sampler.temperature) == (
        "low-confidence",
        16,
        4,
        0.5,
    )
    assert loaded.evaluation_sampler() == sampler and loaded.evaluation.sampler is None


def test_a_benchmark_takes_nothing_from_another_task(recipe):
    name = recipe(
        "task: {name: gsm8k, columns: {question: q}, limit: 3}\nevaluation: {data: mine.jsonl}\n"
        "output_dir: runs/training\n"
    )
    same, other = load_benchmark(name, "gsm8k"), load_benchmark(name, "countdown")
    assert (same.task.columns, same.task.data, same.task.limit) == ({"question": "q"}, "mine.jsonl", None)
    assert (other.task.columns, other.task.data, other.output_dir) == ({}, None, None)


def test_a_misspelled_benchmark():
    with pytest.raises(
        UserError, match=r'task.name = "gsm8" \(BENCHMARK\): unknown task.*did you mean \'gsm8k\''
    ):
        load_benchmark("math", "gsm8")


# --- the parts --------------------------------------------------------------------------------------


def test_descriptions_follow_the_schema():
    assert describe.is_free_mapping(("task", "rewards")) and not describe.is_free_mapping(("task",))
    assert describe.keys_at(("grpo", "objective")) == [
        "name",
        "clip_low",
        "clip_high",
        "beta",
        "sync_ref_steps",
    ]
    assert describe.node_at(("grpo", "nothing")) is None
    assert describe.allowed(describe.node_at(("task", "rewards", "any"))) == "a number"


def test_our_dumper_quotes_what_our_loader_would_not_read_as_text():
    values = [
        "1e-4",
        "yes",
        "010",
        "1:30",
        "2024-01-01",
        "null",
        "",
        "a: b",
        "# c",
        "é",
        "1_000",
        "+.5",
        ".5e3",
    ]
    text = yaml_file.write({"values": values, "numbers": [1e-4, 1, 1e20, 0.1]})
    assert yaml_file.parse(text, "x").tree == {"values": values, "numbers": [1e-4, 1, 1e20, 0.1]}
    assert yaml.safe_load(text)["numbers"] == [1e-4, 1, 1e20, 0.1]


@pytest.mark.parametrize("name,right", [("linear", True), ("pow2", True), ("pow0.5", True), ("pow0", False),
                                        ("pow0.0", False), ("pow", False), ("cosin", False)])  # fmt: skip
def test_schedules_of_the_samplers(name, right):
    if right:
        assert config.load("math", {"sampler.schedule": name}).sampler.schedule == name
    else:
        assert "sampler.schedule" in mistake("math", {"sampler.schedule": name})


def test_sampling_changes_what_sample_draws_and_nothing_else(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("sampler: {steps: 20, temperature: 1.0}\nsampling: {steps: 32, temperature: 0.5}\n")
    drawn = config.load(str(path), [], "sample").sampler
    assert (drawn.steps, drawn.temperature, drawn.guidance) == (32, 0.5, 0.0)
    said = config.load(str(path), ["sampler.steps=40"], "sample").sampler  # what is asked for stands above both
    assert (said.steps, said.temperature) == (40, 0.5)
    for command in ("grpo", "sft", "eval"):
        assert config.load(str(path), [], command).sampler.temperature == 1.0
