"""lm-evaluation-harness on our samplers: what it writes and judges is what `maskgrpo eval` does."""

import json
import os
import socket
import subprocess
import sys

import pytest

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'maskgrpo[lm-eval]'")

from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import TaskIndex
from typer.testing import CliRunner

from maskgrpo_cli import registry
from maskgrpo_cli.cli import app
from maskgrpo_cli.engine.harness.command import TASKS, run
from maskgrpo_cli.engine.harness.model import MaskGrpoLM
from maskgrpo_cli.engine.harness.tasks import problems, verdict
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.prompts import BOXED

GSM8K = [  # its layout, in words that the bundled model knows
    ("Tom has 3 apples. He buys 4 more and eats 2. How many apples now?", "He has <<3+4=7>>7. 7-2=5.\n#### 5"),
    ("Zoe buys 10 cards. She hides 5. How many cards now?", "10-5=5\n#### 5"),
    ("Tom has 2 apples. He buys 9 more. How many apples now?", "2+9=11\n#### 11"),
    ("Zoe has 12 cards. She buys 3 more and hides 4. How many cards now?", "12+3=15, 15-4=11\n#### 11"),
    ("Tom has 7 cards. He eats 1. How many cards now?", "7-1=6\n#### 6"),
    ("Zoe has 5 apples. She eats 2 and buys 6 more. How many apples now?", "5-2=3, 3+6=9\n#### 9"),
    ("Tom buys 8 cards. He buys 8 more. How many cards now?", "8+8=16\n#### 16"),
    ("Zoe has 20 apples. She eats 9. How many apples now?", "20-9=11\n#### 11"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of eight problems in GSM8K's layout."""
    path = tmp_path_factory.mktemp("data") / "gsm8k.jsonl"
    path.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in GSM8K))
    return str(path)


@pytest.fixture(scope="module")
def arithmetic_data(tmp_path_factory):
    """The same problems with bare answers, as the arithmetic task reads them."""
    path = tmp_path_factory.mktemp("data") / "arithmetic.jsonl"
    rows = [{"question": q, "answer": a.rpartition(" ")[2]} for q, a in GSM8K]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def model():
    """The bundled model, drawn from as its recipe says."""
    return MaskGrpoLM(device="cpu", batch_size=3)


def through_harness(model, task, data, **options):
    """(prompt, completion, right) of every problem."""
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata={"data": data})
    results = simple_evaluate(
        model, tasks=[task], task_manager=manager, apply_chat_template=True, bootstrap_iters=0, **options
    )
    rows = sorted(results["samples"][task], key=lambda row: row["doc_id"])
    assert results["results"][task]["accuracy,none"] == pytest.approx(sum(row["accuracy"] for row in rows) / len(rows))
    return [(row["doc"]["prompt"], row["resps"][0][0], bool(row["accuracy"])) for row in rows]


def through_eval(folder, benchmark, data, *options):
    """The same from `maskgrpo eval`."""
    app(["eval", benchmark, "--data", data, "--device", "cpu", "--output-dir", str(folder), *options],
        standalone_mode=False)  # fmt: skip
    rows = [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]
    return [(row["prompt"], row["completion"], row["correct"]) for row in rows]


def request(text, doc=0, **kwargs):
    return Instance("generate_until", {}, (text, kwargs), 0, metadata=("t", doc, 1))


# --- agreement with maskgrpo eval ---------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0, 1])
def test_gsm8k_agrees_with_eval(data, tmp_path, temperature):
    model = MaskGrpoLM(device="cpu", batch_size=3, temperature=temperature, seed=5, length=12, steps=6)
    ours = through_eval(tmp_path / "eval", "gsm8k", data, *(
        f"--temperature {temperature} --seed 5 --batch-size 3 --length 12 --sampling-steps 6".split()
    ))
    assert through_harness(model, "gsm8k_maskgrpo", data) == ours
    assert [prompt for prompt, _, _ in ours] == [BOXED.format(question=question) for question, _ in GSM8K]


def test_problems_that_the_model_can_do_get_the_same_verdicts(arithmetic_data, tmp_path):
    """Some are right and some are wrong, so that an agreement says something."""
    model = MaskGrpoLM(device="cpu", batch_size=3, temperature=1)
    ours = through_eval(tmp_path / "eval", "arithmetic", arithmetic_data, "--temperature", "1", "--batch-size", "3")
    assert through_harness(model, "arithmetic_maskgrpo", arithmetic_data) == ours
    assert 0 < sum(right for _, _, right in ours) < len(ours)


def test_settings_of_the_command_line_agree_too(arithmetic_data, tmp_path):
    """Length, steps, blocks, sampler and a limit, given as model_args and as options."""
    model = MaskGrpoLM.create_from_arg_string(
        "recipe=math,model=tiny-math,length=16,steps=8,block_length=8,sampler=emerge,temperature=0.5,seed=2",
        {"batch_size": 4, "device": "cpu", "max_batch_size": None},
    )
    assert model.settings.sampler.batch_size == 4
    ours = through_eval(tmp_path / "eval", "arithmetic", arithmetic_data, *(
        "--length 16 --sampling-steps 8 --block-length 8 --sampler emerge --temperature 0.5 --seed 2 "
        "--batch-size 4 --limit 5".split()
    ))
    assert len(ours) == 5 and through_harness(model, "arithmetic_maskgrpo", arithmetic_data, limit=5) == ours


def test_gsm8k_agrees_with_eval_on_real_problems(benchmark_data, model, tmp_path):
    data = benchmark_data("gsm8k_test.jsonl.gz")
    ours = through_eval(tmp_path / "eval", "gsm8k", data, "--limit", "2")
    assert len(ours) == 2 and through_harness(model, "gsm8k_maskgrpo", data, limit=2) == ours


COMMAND = ["--tasks", "arithmetic_maskgrpo", "--limit", "6", "--apply_chat_template", "--device", "cpu",
           "--model_args", "temperature=1,seed=3", "--output_path", "out", "--log_samples"]  # fmt: skip


def assert_written(shown, arithmetic_data, folder):
    """What COMMAND showed, and wrote below `folder`, is what eval writes."""
    assert "arithmetic_maskgrpo" in shown
    found = [json.loads(line) for line in next(folder.glob("out/*/samples_*.jsonl")).read_text().splitlines()]
    ours = through_eval(folder / "eval", "arithmetic", arithmetic_data, *"--temperature 1 --seed 3 --limit 6".split())
    assert [(row["doc"]["prompt"], row["resps"][0][0], bool(row["accuracy"])) for row in found] == ours
    recorded = json.loads(next(folder.glob("out/*/results_*.json")).read_text())["config"]["maskgrpo"]
    assert recorded["sampler"]["temperature"] == 1 and recorded["sampler"]["name"] == "low-confidence"


def test_the_command_writes_what_eval_writes(maskgrpo, arithmetic_data, monkeypatch, tmp_path):
    """From the command line to the files; without the index of lm-eval's own tasks, which takes 20 seconds."""
    original = TaskIndex.build
    ours = staticmethod(lambda paths: original([path for path in paths if str(path) == str(TASKS)]))
    monkeypatch.setattr(TaskIndex, "build", ours)
    monkeypatch.chdir(tmp_path)
    code, shown, errors = maskgrpo("lm-eval", "--data", arithmetic_data, *COMMAND)
    assert code == 0, errors
    assert_written(shown, arithmetic_data, tmp_path)


@pytest.mark.slow
def test_the_command_in_a_process_of_its_own(arithmetic_data, tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-m", "maskgrpo_cli", "lm-eval", "--data", arithmetic_data, *COMMAND],
                          cwd=tmp_path, timeout=300, capture_output=True, text=True, env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_written(done.stdout, arithmetic_data, tmp_path)


@pytest.mark.slow
def test_two_processes_share_the_work_and_change_nothing(arithmetic_data, tmp_path):
    script = """
import json, os, sys
os.environ.update(RANK=sys.argv[1], LOCAL_RANK=sys.argv[1], WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                  MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[2], ACCELERATE_USE_CPU="true")
sys.path.insert(0, os.path.dirname(sys.argv[5]))
from test_harness import MaskGrpoLM, through_harness
model = MaskGrpoLM(device="cpu", temperature=1, batch_size=1)
assert model.world_size == 2 and model.rank == int(sys.argv[1])
seen = []
model._complete = lambda requests, *rest, original=model._complete: seen.append(1) or original(requests, *rest)
try:
    rows = through_harness(model, "arithmetic_maskgrpo", sys.argv[3], limit=7)
    open(sys.argv[4], "w").write(json.dumps(rows))
except TypeError:  # the second process has no results
    assert model.rank == 1
assert len(seen) == 4  # of seven problems, the second process has three and one to keep step
"""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port, rows = str(unused.getsockname()[1]), tmp_path / "rows.json"
    children = [subprocess.Popen([sys.executable, "-c", script, str(rank), port, arithmetic_data, str(rows), __file__])
                for rank in (0, 1)]
    assert [child.wait(timeout=300) for child in children] == [0, 0]
    ours = through_eval(tmp_path / "eval", "arithmetic", arithmetic_data, "--temperature", "1", "--limit", "7",
                        "--batch-size", "1")
    assert [tuple(row) for row in json.loads(rows.read_text())] == ours


# --- requests -----------------------------------------------------------------------------------------


def test_a_repeated_request_has_draws_of_its_own():
    model = MaskGrpoLM(device="cpu", temperature=1.5, batch_size=2)
    prompt = model.apply_chat_template([{"role": "user", "content": GSM8K[0][0]}])
    many = model.generate_until([request(prompt)] * 4, disable_tqdm=True)
    assert len(set(many)) > 1
    assert model.generate_until([request(prompt)], disable_tqdm=True) == many[:1]
    # another problem's draws are others, whatever place it has
    assert model.generate_until([request(prompt, doc=7)] * 4, disable_tqdm=True) != many


def test_stop_strings_cut_the_text_and_requests_come_back_in_order(model):
    prompts = [model.apply_chat_template([{"role": "user", "content": q}]) for q, _ in GSM8K]
    whole = model.generate_until([request(p, i) for i, p in enumerate(prompts)], disable_tqdm=True)
    assert all("</reasoning>" in text for text in whole)
    mixed = [request(p, i, until=["</reasoning>", "never"] if i % 2 else []) for i, p in enumerate(prompts)]
    expected = [text.partition("</reasoning>")[0] if i % 2 else text for i, text in enumerate(whole)]
    assert model.generate_until(mixed, disable_tqdm=True) == expected


def test_max_gen_toks_bounds_the_tokens(model):
    prompt = model.apply_chat_template([{"role": "user", "content": GSM8K[0][0]}])
    [short] = model.generate_until([request(prompt, max_gen_toks=3)], disable_tqdm=True)
    assert 0 < len(model.tokenizer.encode(short, add_special_tokens=False)) <= 3


def test_a_context_without_a_template_is_plain_text(model, caplog):
    model._templated = False
    with caplog.at_level("WARNING"):
        model.generate_until([request("Tom has 3 apples.")], disable_tqdm=True)
        model.generate_until([request("Tom has 3 apples.")], disable_tqdm=True)
    assert caplog.text.count("--apply_chat_template") == 1
    assert model._encode(["a b", ""]) == [model.tokenizer.encode("a b", add_special_tokens=False), []]


def test_templates_are_those_of_eval(model, monkeypatch):
    chat = [{"role": "user", "content": " 1+1? "}, {"role": "assistant", "content": "2"}]
    text = model.apply_chat_template(chat)
    assert text == "<|startoftext|>1+1?<|eot_id|>2<|eot_id|>"
    assert model._encode([text]) == model.policy.modality.encode([chat])
    assert model.chat_template(True) == model.tokenizer.chat_template
    with pytest.raises(UserError, match="--apply_chat_template default: write it without a name"):
        model.chat_template("default")
    monkeypatch.setattr(model.tokenizer, "chat_template", None)
    assert model.apply_chat_template(chat) == " 1+1? \n2"
    assert model._encode([model.apply_chat_template(chat)]) == model.policy.modality.encode([chat])


def test_perplexity_of_whole_texts_is_refused(model):
    with pytest.raises(UserError, match="loglikelihood_rolling"):
        model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("text",), 0)])


# --- tasks and command --------------------------------------------------------------------------------

ROWS = {
    "arithmetic": ({"question": "1+1?", "answer": "2"}, r"\boxed{2}", r"\boxed{3}"),
    "gsm8k": ({"question": "1+1?", "answer": "1+1=2\n#### 2"}, r"\boxed{2}", "2"),
    "math500": ({"problem": "1/2?", "answer": r"\frac{1}{2}"}, r"\boxed{\dfrac12}", r"\boxed{2}"),
    "countdown": ({"nums": [1, 2, 3], "target": 7}, "<answer>1+2*3</answer>", "<answer>1+2+3</answer>"),
    "sudoku": ({"Puzzle": "1234341221434320", "Solution": "1234341221434321"}, "<answer>1234341221434321</answer>",
               "<answer>1234341221434322</answer>"),
}  # fmt: skip


@pytest.mark.parametrize("benchmark", ROWS)
def test_every_benchmark_is_a_task_with_its_own_verdicts(benchmark, tmp_path):
    row, right, wrong = ROWS[benchmark]
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(row) + "\n")
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata={"data": str(path), "length": 8})
    task = manager.load([f"{benchmark}_maskgrpo"])["tasks"][f"{benchmark}_maskgrpo"]
    [doc] = task.test_docs()
    [problem] = registry.resolve("task", benchmark).load(str(path), "test")
    assert task.doc_to_text(doc) == problem.prompt
    assert task.process_results(doc, [right]) == {"accuracy": 1.0, "score": 1.0}
    assert task.process_results(doc, [wrong])["accuracy"] == 0.0
    assert verdict is task.config.process_results


def test_columns_of_other_names_are_mapped(tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text(json.dumps({"q": "1+1?", "a": "2"}) + "\n")
    [doc] = problems("arithmetic", data=str(path), columns={"question": "q", "answer": "a"})["test"]
    assert doc["prompt"] == "1+1?" and doc["columns"] == {"answer": "2"}


def test_lm_eval_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "lm_eval.__main__", raising=False)
    with pytest.raises(UserError, match=r"pip install 'maskgrpo\[lm-eval\]'"):
        run(["--tasks", "gsm8k_maskgrpo"], None)


def test_data_is_said_in_one_place():
    with pytest.raises(UserError, match=r"write both as --metadata '\{\"data\": \"x.jsonl\", \.\.\.\}'"):
        run(["--tasks", "gsm8k_maskgrpo", "--metadata={}"], "x.jsonl")


def test_what_lm_eval_refuses_is_a_message():
    before = list(sys.argv)
    with pytest.raises(UserError, match="lm-eval: Specify --output_path"):
        run(["--tasks", "gsm8k_maskgrpo", "--log_samples"], None)
    assert sys.argv == before


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    def broken():
        raise ValueError("ours")

    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", broken)
    with pytest.raises(ValueError, match="ours"):
        run([], None)


def test_data_that_cannot_be_reached_are_a_message(monkeypatch):
    def unreachable():
        raise ConnectionError("Couldn't reach 'somebody/something' on the Hub")

    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", unreachable)
    with pytest.raises(UserError, match="lm-eval: Couldn't reach 'somebody/something'"):
        run(["--tasks", "wikitext"], None)


def test_help_is_ours_and_has_examples():
    shown = CliRunner().invoke(app, ["lm-eval", "--help"]).output
    assert "maskgrpo lm-eval --tasks gsm8k_maskgrpo --data" in shown and "maskgrpo[lm-eval]" in shown
