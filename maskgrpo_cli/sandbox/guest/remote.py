"""The tests' hold on a program in another process: stand-ins for its functions, classes and objects.

A stand-in never lets the program judge itself. Results are plain data, compared here. An object of the program equals
no plain value, whatever its class says; no operator hands a plain value of the test to the program and takes plain
data for an answer. Only where two objects of the program are compared with one another does the program answer, for
nobody else can; the verdict says so.
"""

import sys
import types

from . import wire
from .stand_ins import RemoteClass, RemoteFunction, RemoteIterator, RemoteObject
from .values import EXCEPTIONS, ITERATORS, become, known, library, library_type


class Gone(BaseException):
    """The program's process ended or spoke nonsense; no test can go on."""


class Remote:
    """The line to one program."""

    def __init__(self, fd):
        self.fd = fd
        self.gone = None
        self.may_stop = False  # whether tests know what StopIteration from a call is
        self.answered_for_itself = False
        self.classes = {}  # number -> class made here
        self.stand_ins = {}  # number -> stand-in
        self.capital = set()  # numbers of classes that tests know by capitalised names only
        self.mine = []  # objects of the tests that the program may use

    # --- requests ---------------------------------------------------------------------------------

    def request(self, *message):
        """Ask the program's side, and answer what it asks meanwhile; the answer's parts, or the exception raised."""
        if self.gone:
            raise Gone(self.gone)
        try:
            wire.send(self.fd, message)
            while True:
                answer = wire.receive(self.fd)
                if type(answer) is not list or not answer:
                    raise wire.Malformed("an answer that is no list")
                if answer[0] == "ok":
                    return answer[1:]
                if answer[0] == "raise":
                    break
                if answer[0] != "ask":
                    raise wire.Malformed("an answer of no kind")
                wire.send(self.fd, ["reply", *self.serve(*answer[1:])])
        except wire.Closed:
            raise self.lost("the program ended") from None
        except (wire.Malformed, TypeError, ValueError, IndexError, KeyError) as error:
            if isinstance(error, wire.NotPlain):
                raise
            raise self.lost(f"the program's process sent nonsense: {error}") from None
        error = self.exception(*answer[1:])
        if isinstance(error, StopIteration) and message[0::2] != ("special", "next") and not self.may_stop:
            # out of `all(map(lambda x: f(x) == 4, cases))` it would look like the end of the cases
            raise RuntimeError("the program raised StopIteration") from error
        raise error

    def lost(self, why):
        """Remember that the program is gone."""
        self.gone = self.gone or why
        return Gone(why)

    def exception(self, name="Exception", own=None, arguments=None, text="", number=None, *_):
        """The exception that the program raised: a builtin one, or a class made here that extends one."""
        kind = self.read(own) if own is not None else EXCEPTIONS.get(str(name), Exception)
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            kind = Exception
        try:
            values = [wire.decode(item) for item in arguments] if type(arguments) is list else [str(text)]
            return kind(*values)
        except (wire.Malformed, TypeError, ValueError):
            return Exception(str(text))

    def load(self, source, module):
        """Have the program run; its names, still in wire form."""
        (names,) = self.request("load", source, module)
        if type(names) is not dict:
            raise self.lost("the program's process sent nonsense: no names")
        known = {}
        for name, form in names.items():
            if type(form) is dict and type(form.get("ref")) is list and form["ref"][1:2] == ["class"]:
                known.setdefault(form["ref"][0], []).append(name)
        self.capital = {number for number, all_names in known.items() if all(item[0].isupper() for item in all_names)}
        return names

    def named(self, name, form):
        """What a name of the program means in a test; a new copy each time where it is plain data.

        What the program says it imported is imported here, for a test may rely on it, and taken from nobody else.
        """
        if type(form) is dict and form.keys() & {"module", "library"}:
            return library(name, form)
        return self.read(form)

    # --- values -----------------------------------------------------------------------------------

    def read(self, form):
        """The value of a wire form from the program."""
        try:
            return wire.decode(form, self.hook)
        except (wire.Malformed, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            raise self.lost(f"the program's process sent nonsense: {error}") from None

    def hook(self, tag, body):
        """Stand-ins for objects; the standard library's own are taken from here."""
        if tag == "ref":
            number, kind, more = body
            if kind == "class":
                return self.class_of(number, more)
            if number not in self.stand_ins:
                self.stand_ins[int(number)] = self.stand_in(int(number), kind, more)
            return self.stand_ins[number]
        if tag == "library":
            return library_type(*body)
        if tag == "error":
            return EXCEPTIONS[body[0]](*[wire.decode(item, self.hook) for item in body[1]])
        if tag == "own":
            return self.mine[body]
        raise wire.Malformed(f"the unknown tag {tag!r}")

    def stand_in(self, number, kind, more):
        """The stand-in for one object."""
        if kind == "function":
            return RemoteFunction(self, number, str(more))
        made = RemoteIterator if kind == "iterator" else wire.decode(more, self.hook)
        made = made if isinstance(made, RemoteClass) else RemoteObject
        stand_in = object.__new__(made)
        RemoteObject.__init__(stand_in, self, number)
        return stand_in

    def class_of(self, number, more):
        """A class made here for one of the program's, once; exceptions extend the same builtin one."""
        if number in self.classes:
            return self.classes[number]
        name, raised, bases = more
        own = [base for base in (wire.decode(item, self.hook) for item in bases) if isinstance(base, type)]
        if raised is not None:
            bases = tuple(base for base in own if issubclass(base, BaseException))
            builtin = () if any(issubclass(base, EXCEPTIONS[raised]) for base in bases) else (EXCEPTIONS[raised],)
            made = type(str(name), bases + builtin, {})
        else:
            own = [base for base in own if isinstance(base, RemoteClass)]
            made = RemoteClass(str(name), tuple(own) or (RemoteObject,), {"_of": (self, int(number))})
        self.classes[int(number)] = made
        return made

    def write(self, value):
        """The wire form of a value for the program."""
        return wire.encode(value, self.export)

    def export(self, value):
        """What is not plain: the program's own objects as their numbers, the tests' callables and instances."""
        if isinstance(value, RemoteClass):
            return {"ref": value._of[1]}
        if isinstance(value, (RemoteObject, RemoteFunction)):
            return {"ref": object.__getattribute__(value, "_number")}
        if isinstance(value, type) and value.__module__ in sys.stdlib_module_names and known(value):
            return {"library": [value.__module__, value.__name__]}
        if type(value) in EXCEPTIONS.values():
            return {"error": [type(value).__name__, [self.write(item) for item in value.args]]}
        if isinstance(value, ITERATORS):
            kind = "iterator"
        elif callable(value) or type(value).__module__ == "tests":
            kind = "object"
        else:
            raise wire.NotPlain(f"{type(value).__name__} cannot be handed to a program in another process")
        if not any(value is item for item in self.mine):
            self.mine.append(value)
        return {"own": [next(index for index, item in enumerate(self.mine) if item is value), kind]}

    # --- what the program may ask of the tests' objects -----------------------------------------------

    def serve(self, operation, number, *body):
        """Call a callable, advance an iterator, read or set a public attribute of an instance: nothing else."""
        target = self.mine[number]
        try:
            if operation == "call" and callable(target):
                arguments, keywords = body
                named = {key: self.read(item) for key, item in keywords.items()}
                result = target(*[self.read(item) for item in arguments], **named)
            elif operation == "next" and isinstance(target, ITERATORS):
                result = next(target)
            elif type(target).__module__ == "tests" and not callable(target) and not str(body[0]).startswith("_"):
                name, *values = body
                result = setattr(target, name, self.read(*values)) if operation == "set" else getattr(target, name)
            else:
                raise AttributeError(str(body[:1]))
            return ["ok", self.write(result)]
        except Exception as error:
            kind = next(base.__name__ for base in type(error).__mro__ if base.__name__ in EXCEPTIONS)
            return ["raise", kind, str(error)[:2000]]

    def call(self, number, arguments, keywords):
        """Call an object of the program; arguments that it changed in place change here too."""
        written = [self.write(item) for item in arguments], {key: self.write(item) for key, item in keywords.items()}
        answer = self.request("call", number, *written)
        slots = {**dict(enumerate(arguments)), **keywords}
        try:
            result, changed = answer
            for key, form in changed:
                become(slots[key], self.read(form))
            if type(result) is dict and "same" in result:
                return slots[result["same"]]
        except (TypeError, ValueError, KeyError) as error:
            raise self.lost(f"the program's process sent nonsense: {error}") from None
        return self.read(result)

    def special(self, number, name, *arguments):
        """An operator on an object of the program."""
        (form, *_) = self.request("special", number, name, [self.write(item) for item in arguments]) or [None]
        return NotImplemented if form == {"missing": 0} else self.read(form)

    def get(self, number, name):
        """An attribute of an object of the program."""
        return self.read((self.request("get", number, name) or [None])[0])


class RemoteModule(types.ModuleType):
    """What `from solution import f` and `import solution` find: the names of the program, as they are now."""

    def __init__(self, name, remote, public):
        super().__init__(name)
        self.__dict__["_remote"] = remote
        self.__dict__["_public"] = public  # what `import *` takes, when asked
        self.__dict__["__path__"] = []

    def __getattr__(self, name):
        if name == "__all__":
            return self.__dict__["_public"]()
        if name.startswith("__"):
            raise AttributeError(name)
        remote = self.__dict__["_remote"]
        form = (remote.request("name", name) or [None])[0]
        value = remote.named(name, form)
        if value is None and form is not None:
            raise AttributeError(name)
        return value
