"""The program's side of a sandbox: runs the source, then does what the tests' side asks, and answers in plain data.

Nothing here is trusted by anyone: a program may take over this process whole. What it then says is still only plain
data that the tests' side compares by itself.
"""

import builtins
import posix
import sys

from . import wire
from .confine import confine

Module = type(sys)


class Candidate:
    """One program and the objects of it that the tests' side knows by number."""

    def __init__(self, fd):
        self.fd = fd
        self.module = None
        self.objects = []
        self.numbers = {}  # id of an object -> its number

    def serve(self, until=None):
        """Do what is asked; with `until`, up to the reply to an own question, which is returned."""
        while True:
            message = wire.receive(self.fd)
            if until and message[0] == "reply":
                return message[1:]
            answer = self.done(message[0], message[1:])
            try:
                wire.send(self.fd, answer)
            except wire.NotPlain as error:
                wire.send(self.fd, ["raise", *self.raised(error)])

    def done(self, operation, body):
        """The answer to one request."""
        try:
            answer = ["ok", *getattr(self, "do_" + operation)(*body)]
        except wire.Closed:
            raise
        except BaseException as error:
            answer = ["raise", *self.raised(error)]
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:  # a program may put anything in place of them
                continue
        return answer

    # --- what can be asked ------------------------------------------------------------------------

    def do_load(self, source, name):
        """Run the source as the module `name`; the names it defines."""
        self.module = sys.modules[name] = Module(name)
        self.module.__file__ = f"/tmp/{name}.py"
        before = set(self.module.__dict__)
        exec(compile(source, f"{name}.py", "exec"), self.module.__dict__)
        names = {}
        for key, value in list(self.module.__dict__.items()):
            if type(key) is str and key not in before and key != "__builtins__":
                try:
                    names[key] = self.write(value, key)
                except (wire.NotPlain, RecursionError):
                    continue
        return [names]

    def do_name(self, name):
        """A name of the module, as it is now."""
        return [self.write(getattr(self.module, name), name)]

    def do_call(self, number, arguments, keywords):
        """Call an object: its result, and the arguments that it changed in place."""
        values = [self.read(item) for item in arguments]
        named = {key: self.read(item) for key, item in keywords.items()}
        slots = list(enumerate(values)) + list(named.items())
        mutable = [(key, value, self.write(value)) for key, value in slots if type(value) in MUTABLE]
        result = self.objects[number](*values, **named)
        for key, value in slots:
            if result is value and type(value) in MUTABLE:
                return [{"same": key}, self.changed(mutable)]
        return [self.write(result), self.changed(mutable)]

    def changed(self, mutable):
        """[key, new form] of every argument that is not as it was."""
        now = ((key, self.write(value), before) for key, value, before in mutable)
        return [[key, form] for key, form, before in now if form != before]

    def do_special(self, number, name, arguments):
        """What Python itself would call: len, next, str, operators."""
        values = [self.read(item) for item in arguments]
        value = self.objects[number]
        function = FUNCTIONS.get(name) or getattr(type(value), name)
        result = function(value, *values)
        return [{"missing": 0} if result is NotImplemented else self.write(result)]

    def do_get(self, number, name):
        """An attribute."""
        return [self.write(getattr(self.objects[number], name))]

    def do_set(self, number, name, value):
        """Set an attribute."""
        setattr(self.objects[number], name, self.read(value))
        return [None]

    # --- values -----------------------------------------------------------------------------------

    def write(self, value, name=None):
        """The wire form of a value, which stands under `name`; objects of the program become numbers."""
        return wire.encode(value, lambda other: self.export(other, name if other is value else None))

    def export(self, value, name=None):
        """The form of what is not plain data."""
        if isinstance(value, Theirs):
            return {"own": value._number}
        if isinstance(value, Module):
            if value.__name__ not in sys.stdlib_module_names:
                raise wire.NotPlain("a module")
            return {"module": value.__name__}
        home = getattr(value, "__module__", None)
        own_name = getattr(value, "__name__", None)
        named = type(own_name) is str and type(home) is str and home.split(".")[0] in sys.stdlib_module_names
        known = named and getattr(sys.modules.get(home), own_name, None) is value
        if known and (own_name == name or (name is None and isinstance(value, type))):
            return {"library": [home, own_name]}
        if type(value).__module__ == "builtins" and BaseException in type(value).__mro__:
            return {"error": [type(value).__name__, [self.write(item) for item in value.args]]}
        if isinstance(value, type):
            return {"ref": [self.number(value), "class", self.class_form(value)]}
        if isinstance(value, CALLABLE):
            return {"ref": [self.number(value), "function", str(own_name)]}
        if hasattr(type(value), "__next__"):
            return {"ref": [self.number(value), "iterator", None]}
        kind = self.export(type(value))
        return {"ref": [self.number(value), "object", kind if "ref" in kind else None]}

    def class_form(self, kind):
        """[name, the builtin exception it extends or None, its bases that are the program's own]."""
        bases = [base for base in kind.__bases__ if base.__module__ == self.module.__name__]
        raised = None
        if issubclass(kind, BaseException):
            raised = next(base.__name__ for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)
        return [kind.__name__, raised, [self.export(base) for base in bases]]

    def number(self, value):
        """The number of an object; it is kept as long as the process lives."""
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return self.numbers[id(value)]

    def read(self, form):
        """The value of a wire form."""
        return wire.decode(form, self.hook)

    def hook(self, tag, body):
        """Numbers back into objects; what belongs to the tests becomes a stand-in."""
        if tag == "ref":
            return self.objects[body]
        if tag == "library":
            return getattr(__import__(body[0], fromlist=["_"]), body[1])
        if tag == "error":
            return getattr(builtins, body[0])(*map(self.read, body[1]))
        return (TheirIterator if body[1] == "iterator" else Theirs)(self, body[0])

    def raised(self, error):
        """[builtin exception, the program's own class or None, arguments, text] of an exception."""
        kind = type(error)
        name = next(base.__name__ for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)
        own = None if kind.__module__ == "builtins" or self.module is None else self.own_class(kind)
        try:
            arguments = [wire.encode(item) for item in error.args]
        except (wire.NotPlain, RecursionError):
            arguments = None
        return [name, own, arguments, text_of(error), getattr(error, "errno", None)]

    def own_class(self, kind):
        """The form of an exception class that is the program's own, None for others."""
        return self.export(kind) if kind.__module__ == self.module.__name__ else None

    def ask(self, *question):
        """Have the tests' side do something with an object of its own."""
        wire.send(self.fd, ["ask", *question])
        outcome, *body = self.serve(until="reply")
        if outcome == "ok":
            return self.read(body[0])
        raise getattr(builtins, body[0], Exception)(body[1])


class Theirs:
    """An object of the tests: a callable, or an instance of a class that they define."""

    def __init__(self, peer, number):
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments, **keywords):
        """Call it."""
        peer = self._peer
        named = {key: peer.write(value) for key, value in keywords.items()}
        return peer.ask("call", self._number, [peer.write(value) for value in arguments], named)

    def __getattr__(self, name):
        """Read a public attribute."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self._peer.ask("get", self._number, name)

    def __setattr__(self, name, value):
        """Set a public attribute."""
        self._peer.ask("set", self._number, name, self._peer.write(value))

    def __eq__(self, other):
        """The same object."""
        return isinstance(other, Theirs) and other._number == self._number

    def __hash__(self):
        return self._number


class TheirIterator(Theirs):
    """An iterator of the tests."""

    def __iter__(self):
        return self

    def __next__(self):
        return self._peer.ask("next", self._number)


def text_of(error):
    """What an exception says, cut short."""
    try:
        return str(error)[:2000]
    except BaseException:
        return ""


MUTABLE = {list, dict, set, bytearray, tuple}
CALLABLE = (type(text_of), type(Candidate(0).serve), type(len))  # functions, bound methods, built-in functions
FUNCTIONS = {"len": len, "next": next, "iter": iter, "str": str, "repr": repr, "bool": bool, "abs": abs,
             "callable": callable, "int": int, "float": float}  # fmt: skip


def main():
    """`candidate FD LIMITS`: serve one program until the other side hangs up."""
    fd = int(sys.argv[1])
    confine(wire.loads(sys.argv[2]), {fd})
    sys.argv[:] = [""]
    try:
        Candidate(fd).serve()
    except wire.Closed:
        posix._exit(0)
