"""The command line as a user meets it: real processes, their output and their exit codes."""

import os
import re
import signal
import subprocess
import sys

import pytest
from typer.main import get_command

from maskgrpo_cli import __version__, cli, cli_keys, registry
from maskgrpo_cli.config import recipes

RUN = "import sys; from maskgrpo_cli.cli import main; main()"
COMMANDS = [
    ["grpo"], ["sft"], ["sample"], ["eval"], ["recipes"],
    ["recipes", "list"], ["recipes", "show"], ["recipes", "copy"], ["recipes", "check"],
    ["data"], ["data", "check"], ["reward-server"],
]  # fmt: skip


def maskgrpo(*arguments, cwd=None, stdin="", env=None, script=RUN):
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True, text=True, timeout=60, input=stdin, cwd=cwd, env={**os.environ, **(env or {})},
    )  # fmt: skip


def with_engine(module: str, body: str) -> str:
    """A script that runs the command line over an engine module of one function, `run`."""
    return f"""
import sys, types
module = types.ModuleType("maskgrpo_cli.engine.{module}")
exec({body!r}, module.__dict__)
sys.modules[module.__name__] = module
{RUN}
"""


# Writes the config that it was called with, and what came along.
REPORT = """
def run(config, *rest):
    print(config.model_dump_json())
    print(rest)
"""


def report(module: str, *arguments, **options):
    import json

    done = maskgrpo(*arguments, script=with_engine(module, REPORT), **options)
    assert done.returncode == 0, done.stderr
    config, rest = done.stdout.splitlines()[-2:]
    return json.loads(config), eval(rest)


# --- help -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_examples(command):
    done = maskgrpo(*command, "--help")
    assert done.returncode == 0 and not done.stderr
    assert "Usage: maskgrpo " + " ".join(command) in done.stdout
    if command not in (["recipes"], ["data"]):
        assert "  maskgrpo " + " ".join(command) in done.stdout
    assert not re.search(r"[a-z]-$", done.stdout, re.MULTILINE), "an option is torn apart at its hyphen"


def commands_below(group, prefix=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_below(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def test_every_option_is_documented_with_an_example():
    missing = [
        f"{name} {param.name}"
        for name, command in commands_below(get_command(cli.app))
        for param in command.params
        if "Example: " not in (param.help or "")
    ]
    assert missing == []


def test_every_option_is_read():
    taken_otherwise = {"recipe", "set_", "prompt", "count", "trace", "benchmark", "resume", "force", "compare",
                       "generations", "output", "split", "edit", "keep", "strength", "mode", "like", "no_preview"}
    commands = dict(commands_below(get_command(cli.app)))
    for name, keys in cli_keys.KEYS.items():
        assert {param.name for param in commands[name].params} == set(keys) | taken_otherwise & {
            param.name for param in commands[name].params
        }


def test_version_and_no_arguments():
    assert maskgrpo("--version").stdout == f"maskgrpo {__version__}\n"
    assert "Commands:" in "".join((lambda done: (done.stdout, done.stderr))(maskgrpo()))


@pytest.mark.skipif(os.name == "nt", reason="measures with resource")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["grpo", "--help"]], ids=" ".join)
def test_help_answers_at_once(arguments):
    import resource

    def seconds():
        """Processor time: on an idle machine it is the time one waits, and other work hardly changes it."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        maskgrpo(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    seconds()
    assert min(seconds() for _ in range(5)) < 0.3


# --- options reach the recipe -----------------------------------------------------------------------


def test_training_options(tmp_path):
    config, (name, resumed) = report(
        "grpo", "grpo", "--max-steps", "7", "--sampling-steps", "12", "--limit", "5", "--seed", "3",
        "--device", "cpu", "--dtype", "bfloat16", "--offline", "--tracker", "wandb", "--output-dir", "here",
        "--model", "some/hub-id", "--set", "model.lora.rank=4", "--merge", "--set", "grpo.steps=9",
        cwd=tmp_path,
    )  # fmt: skip
    assert name == "math"
    assert (config["grpo"]["steps"], config["sampler"]["steps"], config["task"]["limit"]) == (7, 12, 5)
    assert (config["seed"], config["device"], config["dtype"], config["offline"]) == (
        3,
        "cpu",
        "bfloat16",
        True,
    )
    assert (config["tracker"], config["output_dir"]) == ("wandb", "here")
    assert (config["model"]["path"], config["model"]["merge"]) == ("some/hub-id", True)
    assert resumed is None


def test_sft_from_nothing_or_from_a_model(tmp_path):
    config, _ = report("sft", "sft", "--max-steps", "7", cwd=tmp_path)
    assert config["sft"]["steps"] == 7 and config["sft"]["from_scratch"]
    assert re.fullmatch(r"runs/math-sft-\d{8}-\d{6}", config["output_dir"])
    config, _ = report("sft", "sft", "--model", "tiny-math", cwd=tmp_path)
    assert config["sft"]["from_scratch"] is None


def test_a_model_of_ones_own_leaves_the_recipes_adapter_behind(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("model: {path: a, adapter: b, revision: c}\n")
    config, (name, resumed) = report("grpo", "grpo", "--recipe", "mine.yaml", "--model", "x", cwd=tmp_path)
    assert name == "mine"
    assert (config["model"]["path"], config["model"]["adapter"], config["model"]["revision"]) == (
        "x",
        None,
        None,
    )
    config, _ = report(
        "grpo", "grpo", "--recipe", "mine.yaml", "--model", "x", "--adapter", "y", cwd=tmp_path
    )
    assert config["model"]["adapter"] == "y"


def test_a_runs_config_starts_a_new_run_beside_it(tmp_path):
    run = tmp_path / "runs" / "math-grpo-20250102-030405"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("output_dir: runs/math-grpo-20250102-030405\n")
    config, (name, resumed) = report("grpo", "grpo", "--recipe", str(run), cwd=tmp_path)
    assert name == "math" and config["output_dir"] != "runs/math-grpo-20250102-030405"
    config, _ = report("grpo", "grpo", "--recipe", str(run), "--output-dir", "again", cwd=tmp_path)
    assert config["output_dir"] == "again"


def test_sample_options(tmp_path):
    config, (prompts, count, trace) = report(
        "sampling", "sample", "--prompt", "one", "--prompt", "-", "-n", "3", "--trace", "t.html",
        "--length", "16", "--sampler", "emerge", "--sampling-steps", "4", "--block-length", "8",
        "--temperature", "0.5",
        "--guidance", "1", cwd=tmp_path, stdin="two\n",
    )  # fmt: skip
    assert (prompts, count, trace) == (["one", "two"], 3, "t.html")
    expected = {
        "name": "emerge",
        "steps": 4,
        "length": 16,
        "block_length": 8,
        "temperature": 0.5,
        "guidance": 1.0,
    }
    assert expected.items() <= config["sampler"].items()


def test_the_recipe_that_fits_a_model_is_found(tmp_path):
    config, _ = report(
        "sampling", "sample", "--prompt", "x", "--model", "GSAI-ML/LLaDA-8B-Instruct", cwd=tmp_path
    )
    assert config["sampler"]["length"] == 256
    config, _ = report("sampling", "sample", "--prompt", "x", "--model", "some/other", cwd=tmp_path)
    assert config["sampler"]["length"] == 24


def test_eval_options(tmp_path):
    config, (resumed,) = report(
        "evaluation", "eval", "gsm8k", "--data", "f.jsonl", "--limit", "64", "--length", "32",
        "--block-length", "16", "--sampling-steps", "8", "--temperature", "1", "--sampler", "random",
        "--batch-size", "5",
        "--split", "validation", cwd=tmp_path,
    )  # fmt: skip
    assert config["task"]["split"] == "validation" and resumed is False
    task = config["task"]
    assert (task["name"], task["data"], task["limit"], task["rewards"]) == ("gsm8k", "f.jsonl", 64, {})
    expected = {
        "name": "random",
        "steps": 8,
        "length": 32,
        "block_length": 16,
        "temperature": 1.0,
        "batch_size": 5,
    }
    assert expected.items() <= config["sampler"].items()
    assert re.fullmatch(r"runs/eval-gsm8k-\d{8}-\d{6}", config["output_dir"])


# --- mistakes and failures --------------------------------------------------------------------------


def test_all_mistakes_at_once(tmp_path):
    done = maskgrpo("grpo", "--max-steps", "0", "--device", "gpu", "--set", "grpo.stepz=1", cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout and "Traceback" not in done.stderr
    first, *lines = done.stderr.splitlines()
    assert first.startswith("error: 3 mistakes in recipe 'math'")
    assert any(line.startswith("  grpo.steps = 0 (--max-steps): a whole number") for line in lines)
    assert any("did you mean 'steps'?" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["grpo", "--recipe", "mth"], "did you mean 'math'?"),
        (["eval", "gsm8"], "did you mean 'gsm8k'?"),
        (["sample", "--prompt", " "], "--prompt: it is empty"),
        (["sample", "--prompt", "-"], "the standard input is empty"),
        (["grpo", "--bogus"], "--bogus"),
        (["grpo", "--max-steps", "many"], "--max-steps"),
        (["sample"], "--prompt"),
        (["evall"], "evall"),
        (["recipes", "show", "nope"], "there is no recipe 'nope'"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(arguments, told, tmp_path):
    done = maskgrpo(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr and not done.stdout


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        ("from maskgrpo_cli.errors import UserError as E", 2, "error: it broke\n"),
        ("from maskgrpo_cli.errors import RunFailed as E", 1, "error: it broke\n"),
        ("E = KeyboardInterrupt", 130, "interrupted: it broke\n"),
        ("E = BrokenPipeError", 1, ""),
    ],
)
def test_exit_codes(raised, code, told, tmp_path):
    script = with_engine("grpo", f"{raised}\ndef run(config, recipe, resume):\n    raise E('it broke')")
    done = maskgrpo("grpo", script=script, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, told)


def test_a_bug_of_ours_keeps_its_traceback(tmp_path):
    script = with_engine("grpo", "def run(config, recipe, resume):\n    raise ZeroDivisionError('oops')")
    done = maskgrpo("grpo", script=script, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" in done.stderr and "ZeroDivisionError: oops" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_with_130(tmp_path):
    script = with_engine(
        "grpo", "import time\ndef run(config, recipe, resume):\n    print('go', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "grpo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout.readline() == "go\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="a shell")
def test_a_reader_that_leaves_early_is_no_error():
    command = (
        f'"{sys.executable}" -c "{RUN}" recipes show math-llada-8b | head -c 1; echo " ${{PIPESTATUS[0]}}"'
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


# --- recipes ----------------------------------------------------------------------------------------


def test_recipes_list_and_check_know_every_file():
    listed, checked = maskgrpo("recipes", "list"), maskgrpo("recipes", "check")
    assert (listed.returncode, checked.returncode) == (0, 0)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == recipes.names()
    assert checked.stdout.splitlines() == [f"ok     {name}" for name in recipes.names()]


def test_recipes_check_names_the_wrong_ones(tmp_path):
    (tmp_path / "bad.yaml").write_text("seed: x\nsampler: {steps: 0}\n")
    (tmp_path / "good.yaml").write_text("seed: 1\n")
    done = maskgrpo("recipes", "check", "bad.yaml", "good.yaml", "none.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.splitlines() == ["wrong  bad.yaml", "ok     good.yaml", "wrong  none.yaml"]
    assert "2 mistakes in bad.yaml" in done.stderr and "there is no file 'none.yaml'" in done.stderr


def test_recipes_show_is_the_file():
    assert maskgrpo("recipes", "show", "math").stdout == recipes.find("math").read_text(encoding="utf-8")


def test_recipes_copy_never_overwrites_unasked(tmp_path):
    def copy(*arguments):
        return maskgrpo("recipes", "copy", *arguments, cwd=tmp_path)

    assert (
        copy("math").returncode == 0
        and (tmp_path / "math.yaml").read_text() == recipes.find("math").read_text()
    )
    (tmp_path / "math.yaml").write_text("seed: 1\n")
    refused = copy("math")
    assert refused.returncode == 2 and "--force" in refused.stderr
    assert (tmp_path / "math.yaml").read_text() == "seed: 1\n"
    assert copy("math", "--force").returncode == 0 and (tmp_path / "math.yaml").read_text() != "seed: 1\n"
    assert copy("math", "no/such/folder/x.yaml").returncode == 2
    assert copy("math.yaml", "math.yaml", "--force").returncode == 2
    assert maskgrpo("grpo", "--recipe", "math.yaml", "--max-steps", "0", cwd=tmp_path).returncode == 2


# --- completion -------------------------------------------------------------------------------------


def completed(line: str) -> list[str]:
    env = {
        "_MASKGRPO_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    script = RUN.replace(
        "main()", "sys.argv[0] = 'maskgrpo'\ntry: main()\nfinally: print('torch' in sys.modules)"
    )
    *words, torch = maskgrpo(env=env, script=script).stdout.split()
    assert torch == "False"
    return words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("maskgrpo grpo --recipe ", recipes.names()),
        ("maskgrpo sft --recipe math-", ["math-llada-8b"]),
        ("maskgrpo recipes show math5", ["math500-llada-8b"]),
        ("maskgrpo sample --sampler ", registry.names("sampler")),
        ("maskgrpo eval gs", ["gsm8k"]),
        ("maskgrpo eval gsm8k --device c", ["cpu", "cuda"]),
        ("maskgrpo grpo --tracker t", ["tensorboard"]),
        ("maskgrpo re", ["reward-server", "recipes"]),
    ],
)
def test_completion(line, words):
    assert completed(line) == words


def test_completion_can_be_installed():
    """The shell is found among the parents: `; true` keeps bash there."""
    asked = f"{sys.executable} -m maskgrpo_cli --show-completion; true"
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True)
    assert "_maskgrpo_completion" in done.stdout, done.stderr
