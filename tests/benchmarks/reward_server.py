"""What a reward server answers to many clients at once on this machine: throughput, latency, batches, lost requests.

    python tests/benchmarks/reward_server.py --clients 64 --requests 20 --items 4

Every client is a thread with a connection of its own; its pictures are of the shapes task, and every score is
compared with the one that the same process gives, to the bit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from reward_servers import file_of, form, picture, real  # noqa: E402

from maskgrpo_cli.rewards.shapes import shapes  # noqa: E402
from maskgrpo_cli.tasks.shapes import SHAPES  # noqa: E402

KINDS = 48  # pictures in all


def main() -> None:
    """Start a server, let the clients ask it, and print a row of figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"clients": 64, "requests": 20, "items": 4, "side": 32, "workers": 1, "max-batch": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--form", action="store_true", help="send pictures as files of a form, not as base64")
    options = parser.parse_args()
    problems = SHAPES.load(None, "validation", limit=KINDS)
    images = [Image.fromarray(SHAPES.picture(problem, side=options.side)) for problem in problems]
    prompts = [problems[index - index % 2].prompt for index in range(KINDS)]
    expected = shapes(prompts=prompts, completions=images)
    bodies = [_body(options, prompts, images, first) for first in range(KINDS)]
    arguments = ["--reward", "shapes", "--workers", str(options.workers), "--max-batch", str(options.max_batch)]
    with tempfile.TemporaryDirectory() as folder, real(folder, *arguments) as server:
        server.until("maskgrpo_workers_ready", options.workers)
        _ask(server, 2, options.clients, options.items, bodies, expected)  # warm
        before = server.memory()
        answers, seconds = _ask(server, options.requests, options.clients, options.items, bodies, expected)
        grown = (server.memory() - before) / 2**20
        ended = server.end()
    _tell(options, answers, seconds, grown, ended)


def _body(options, prompts, images, first) -> tuple[bytes, dict]:
    chosen = [(first + offset) % KINDS for offset in range(options.items)]
    if options.form:
        items = [{"prompt": prompts[one], "completion": {"part": str(place)}} for place, one in enumerate(chosen)]
        return form({"items": items}, {str(place): file_of(images[one]) for place, one in enumerate(chosen)})
    return json.dumps({"items": [picture(images[one], prompts[one]) for one in chosen]}).encode(), {}


def _ask(server, requests, clients, count, bodies, expected) -> tuple[list, float]:
    """(status, right, seconds, size of the first batch) of each request, and the seconds of all."""

    def client(index: int) -> list:
        connection, answers = server.connect(), []
        connection.connect()
        for step in range(requests):
            first = (7 * index + step) % KINDS
            body, headers = bodies[first]
            began = time.perf_counter()
            try:
                answer = server.post(body, headers, connection)
            except OSError:
                answers.append((0, False, time.perf_counter() - began, 0))
                connection = server.connect()
                continue
            taken = time.perf_counter() - began
            said = answer.json if answer.status == 200 else {"batches": [0]}
            wanted = [expected[(first + offset) % KINDS] for offset in range(count)]
            right = answer.status == 200 and said["rewards"]["shapes"]["scores"] == wanted
            answers.append((answer.status, right, taken, said["batches"][0]))
        return answers

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = [one for answers in pool.map(client, range(clients)) for one in answers]
    return answers, time.perf_counter() - began


def _tell(options, answers, seconds, grown, ended) -> None:
    times = sorted(taken for *_, taken, _ in answers)
    lost = sum(status != 200 for status, *_ in answers)
    wrong = sum(status == 200 and not right for status, right, *_ in answers)
    rows = {
        "clients at once": options.clients,
        "requests": f"{len(answers)} of {options.items} pictures, {options.side} x {options.side}",
        "lost requests": lost,
        "scores that differ": wrong,
        "requests a second": f"{len(answers) / seconds:.1f}",
        "pictures a second": f"{len(answers) * options.items / seconds:.0f}",
        "latency p50": f"{1000 * times[len(times) // 2]:.0f} ms",
        "latency p99": f"{1000 * times[min(len(times) - 1, int(0.99 * len(times)))]:.0f} ms",
        "items in a batch, mean": f"{statistics.mean(size for *_, size in answers):.1f} of {options.max_batch}",
        "memory grown": f"{grown:.1f} MiB",
        "exit code after SIGTERM": ended,
    }
    table = Table("reward server", f"{options.workers} worker(s)", title="shapes reward over loopback")
    for name, value in rows.items():
        table.add_row(name, str(value))
    Console(highlight=False).print(table)
    if lost or wrong or ended:
        sys.exit(1)


if __name__ == "__main__":
    main()
