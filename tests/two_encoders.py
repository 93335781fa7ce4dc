"""Two processes that encode the same pictures: `python two_encoders.py PORT FOLDER`; writes what each of them saw.

Forked after the imports, which take longer than everything else.
"""

import json
import os
import sys
from pathlib import Path

from accelerate import Accelerator
from test_codes_cache import Pictures

from maskgrpo_cli.errors import UserError


class Holes(Pictures):
    """Pictures of which some cannot be opened."""

    def __call__(self, index):
        if index in (2, 9):
            raise UserError(f"{index} is no picture")
        return super().__call__(index)


def work(rank, port, folder):
    """Every case, one after another, as process `rank` of two."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=port, ACCELERATE_USE_CPU="true")
    accelerator, seen = Accelerator(cpu=True), {}

    def encode(name, place, pictures=None, **options):
        pictures, told = pictures or Pictures(11), []
        try:
            found, opened = pictures.codes(place, accelerator=accelerator, warn=told.append, **options)
            seen[name] = {"codes": found.tolist(), "opened": opened, "told": told}
        except UserError as error:
            seen[name] = {"refused": str(error), "opened": sorted(pictures.opened)}

    encode("first", folder / "codes")
    encode("again", folder / "codes")
    encode("nowhere", None)
    encode("own disks", folder / ("codes" if rank == 0 else "empty"))
    encode("holes", folder / "holes", Holes(11))
    encode("read-only", Path("/dev/null/codes"))
    (folder / f"{rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    children = []
    for rank in (0, 1):
        child = os.fork()
        if child == 0:
            try:
                work(rank, sys.argv[1], Path(sys.argv[2]))
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(max(abs(code) for code in codes))
