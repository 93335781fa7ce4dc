"""Programs per second through the sandbox, and what many of them leave behind.

    python tests/benchmarks/sandbox.py                      # programs of 3 tests per second
    python tests/benchmarks/sandbox.py --programs 10000     # also: memory and processes, before and after
"""

import argparse
import os
import statistics
import time

from maskgrpo_cli.sandbox import make
from maskgrpo_cli.sandbox.usage import resident, tree
from maskgrpo_cli.types import Program

SOURCE = """
def fib(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
"""
TESTS = (
    "assert fib(10) == 55",
    "assert fib(90) == 2880067194370816120",
    "assert [fib(i) for i in range(5)] == [0, 1, 1, 2, 3]",
)


def state(executor) -> str:
    """Memory and processes of this process and all below it, open files of this one."""
    members = tree(os.getpid())
    files = len(os.listdir("/proc/self/fd"))
    own = resident([os.getpid()]) / 2**20
    guests = resident(members[1:]) / 2**20
    return f"memory {own:.1f} MiB + {guests:.1f} MiB of guests, {len(members)} processes, {files} open files"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--batch", type=int, default=100)
    arguments = parser.parse_args()
    with make(arguments.backend, workers=arguments.workers, timeout=60.0) as executor:
        executor.run([Program(SOURCE, TESTS)] * (2 * arguments.workers))
        print(f"{executor.backend.name}, {arguments.workers} workers, load {os.getloadavg()[0]:.1f}")
        print("before:", state(executor))
        rates, done = [], 0
        while done < arguments.programs:
            count = min(arguments.batch, arguments.programs - done)
            start = time.perf_counter()
            results = executor.run([Program(SOURCE, TESTS)] * count)
            rates.append(count / (time.perf_counter() - start))
            done += count
            assert all(result.status == "passed" for tests in results for result in tests), results
            if done % (10 * arguments.batch) == 0:
                print(f"{done}: {state(executor)}, load {os.getloadavg()[0]:.1f}", flush=True)
        print("after: ", state(executor))
        rate = f"median {statistics.median(rates):.1f}, best {max(rates):.1f}"
        print(f"programs/s of 3 tests: {rate}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
