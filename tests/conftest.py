"""What several test files share."""

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: threads only wait for one another at these sizes


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(4 * float(config.getini("timeout"))))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Image tokens that tests compute are kept in a folder of theirs, not in the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def benchmark_data():
    """Path of a real benchmark file by name; skips where the folder is missing (set MASKGRPO_DATA)."""
    beside = next(Path(__file__).parents[2].glob("*/data/gsm8k_test.jsonl.gz"), Path("data") / "none").parent
    folder = Path(os.environ.get("MASKGRPO_DATA", beside))

    def find(name: str) -> str:
        if not (folder / name).is_file():
            pytest.skip(f"no benchmark data: {folder / name} is missing; MASKGRPO_DATA names their folder")
        return str(folder / name)

    return find


@pytest.fixture
def maskgrpo(monkeypatch, capsys):
    """`maskgrpo(*words)`: the command line in this process; (exit code, standard output, standard error)."""
    from maskgrpo_cli import cli

    def call(*words):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["maskgrpo", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def picture_models(tmp_path_factory):
    """A folder with an untrained model of pictures: model/, tokenizer/ and the recipe pictures.yaml."""
    from tiny_pictures import save_with_recipe

    return save_with_recipe(tmp_path_factory.mktemp("pictures"))


# --- very small runs -----------------------------------------------------------------------------------

TINY = {
    "device": "cpu",
    "task.limit": 8,
    "task.rewards": {"own_rewards:letters": 1.0},
    "sampler.length": 8,
    "sampler.block_length": 4,
    "sampler.steps": 4,
    "evaluation.every": 0,
    "evaluation.final_limit": 0,
    "grpo.steps": 4,
    "grpo.prompts": 2,
    "grpo.group_size": 4,
    "grpo.updates": 2,
    "grpo.log_completions": 8,
    "grpo.optimizer.lr": 0.01,
    "grpo.optimizer.warmup_steps": 0,
    "sft.from_scratch": None,
    "sft.steps": 4,
    "sft.batch_size": 4,
    "sft.micro_batch_size": 4,
    "sft.length": 8,
    "sft.optimizer.warmup_steps": 0,
}
LORA = {"model.lora": {"rank": 2, "alpha": 4.0}}


class Run:
    """A finished, failed or interrupted run in a folder."""

    def __init__(self, folder, config):
        self.folder, self.config = Path(folder), config

    def rows(self, name="metrics.jsonl"):
        """The objects of a file of JSON lines."""
        return [json.loads(line) for line in (self.folder / name).read_text().split("\n") if line]

    def metrics(self, *skip):
        """The rows of metrics without what depends on the clock."""
        timed = ("time/", "tokens_per_second")
        return [{k: v for k, v in row.items() if not k.startswith(timed) and k not in skip} for row in self.rows()]

    def completions(self):
        """(rollout, sample) -> completion."""
        return {(row["rollout"], row["sample"]): row["completion"] for row in self.rows("completions.jsonl")}

    def weights(self, where=""):
        """Name -> tensor of every weights file below the result, or below another part of the folder."""
        from safetensors.torch import load_file

        files = sorted(path for path in (self.folder / where).rglob("*.safetensors")
                       if where or "checkpoints" not in path.parts)
        assert files
        return {f"{path.parent.name}/{k}": v for path in files for k, v in load_file(path).items()}

    def checkpoints(self):
        """The steps that have a checkpoint."""
        return [int(path.name.removeprefix("step-")) for path in sorted((self.folder / "checkpoints").glob("step-*"))]

    def log(self):
        """The text of the log."""
        return (self.folder / "log.txt").read_text()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of an untrained model of 50,000 parameters that knows the words of the arithmetic task."""
    from maskgrpo_cli.config.schema import Architecture, Config
    from maskgrpo_cli.engine.devices import make_accelerator
    from maskgrpo_cli.engine.fresh import new_policy
    from maskgrpo_cli.tasks.arithmetic import ARITHMETIC

    folder = tmp_path_factory.mktemp("tiny")
    shape = Architecture(d_model=32, n_layers=2, n_heads=2, mlp_hidden_size=64)
    new_policy(shape, ARITHMETIC.vocabulary(), 0, make_accelerator(Config(device="cpu"))).save(folder)
    return folder / "model"


@pytest.fixture(scope="session", autouse=True)
def own_parts():
    """`own_rewards` and `own_samplers` can be named in a recipe, as a user's modules are from his folder."""
    folder = str(Path(__file__).parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)


def tiny(model, folder, command="grpo", **overrides):
    """The config of a run of a second in `folder`; `__` in a key stands for a dot."""
    from maskgrpo_cli.config import load

    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    return load("math", {**TINY, "model.path": str(model), "output_dir": str(folder), **changes}, command)


@pytest.fixture
def tiny_config(tiny_model, tmp_path):
    """`tiny_config(name, command="grpo", **overrides)`: a config of a very small run in a folder of its own."""
    return lambda name="run", command="grpo", **overrides: tiny(tiny_model, tmp_path / name, command, **overrides)


@pytest.fixture
def train(tiny_config):
    """`train(name, command="grpo", **overrides)`: carry out a very small run."""

    def carry_out(name="run", command="grpo", **overrides):
        return carry_on(tiny_config(name, command, **overrides), command, resume=False)

    return carry_out


@pytest.fixture(scope="session")
def undisturbed(tiny_model, tmp_path_factory):
    """Like `train`, for runs that are only looked at: made once for the same settings."""
    made = {}

    def find(command="grpo", **overrides):
        key = json.dumps([command, overrides], sort_keys=True)
        if key not in made:
            config = tiny(tiny_model, tmp_path_factory.mktemp("whole") / "run", command, **overrides)
            made[key] = carry_on(config, command, resume=False)
        return made[key]

    return find


def carry_on(config, command="grpo", resume=True):
    """Run, or resume, a config; `resume` may be a Resume."""
    from maskgrpo_cli.engine.resume import Resume

    if isinstance(resume, bool):
        resume = Resume() if resume else None
    importlib.import_module(f"maskgrpo_cli.engine.{command}").run(config, "tiny", resume)
    return Run(config.output_dir, config)
