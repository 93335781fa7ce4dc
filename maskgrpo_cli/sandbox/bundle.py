"""The guests' code, sent to a process instead of being imported by it: a third of its start would go into that."""

from __future__ import annotations

import functools
import marshal
from pathlib import Path

GUEST = Path(__file__).parent / "guest"
MODULES = {
    "candidate": ("quick_json", "wire", "confine", "candidate"),
    "tester": ("quick_json", "wire", "confine", "stand_ins", "values", "remote", "stand_in", "tests", "tester"),
}
BOOT = """
import marshal, posix, sys
fd = int(sys.argv[1])
def read(count):
    data = b""
    while len(data) < count:
        data += posix.read(fd, count - len(data)) or sys.exit(3)
    return data
sys.path[:] = [folder for folder in sys.path if folder]
package = sys.modules["guest"] = type(sys)("guest")
package.__path__ = []
for name, code in marshal.loads(read(int.from_bytes(read(4), "big"))):
    module = sys.modules["guest." + name] = type(sys)("guest." + name)
    module.__package__ = "guest"
    exec(code, module.__dict__)
    setattr(package, name, module)
main = module.main
del package, module, name, code, read, fd
main()
"""


@functools.cache
def bundle(role: str, extra: tuple[str, ...] = ()) -> bytes:
    """The code of a guest, four bytes of length first, as BOOT reads it from its descriptor."""
    codes = []
    for name in (*extra, *MODULES[role]):
        path = GUEST / f"{name}.py"
        codes.append((name, compile(path.read_text(), f"guest/{name}.py", "exec", dont_inherit=True, optimize=2)))
    data = marshal.dumps(codes)
    return len(data).to_bytes(4, "big") + data
