"""Two processes that encode the same pictures: `python two_encoders.py PORT FOLDER`; writes what each of them saw."""

import json
import sys
from pathlib import Path

from accelerate import Accelerator
from forked import both
from test_codes_cache import Pictures

from maskgrpo_cli.errors import UserError


class Holes(Pictures):
    """Pictures of which some cannot be opened."""

    def __call__(self, index):
        if index in (2, 9):
            raise UserError(f"{index} is no picture")
        return super().__call__(index)


def work(rank, folder):
    """Every case, one after another, as process `rank` of two."""
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
    sys.exit(both(work, sys.argv[1], Path(sys.argv[2])))
