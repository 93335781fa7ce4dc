"""Objects of a program as its tests hold them: every use goes over the line, and none lets the program judge itself."""

# What a text, a set or a number says of itself: nobody but the program would answer for its own object.
PREDICATES = {name for kind in (str, bytes, set, float) for name in dir(kind) if name.startswith("is")}
PREDICATES |= {"startswith", "endswith"}


class RemoteFunction:
    """A function or a bound method of the program."""

    def __init__(self, remote, number, name):
        self._remote, self._number, self.__name__ = remote, number, name

    def __call__(self, *arguments, **keywords):
        """Call it over there."""
        return self._remote.call(self._number, arguments, keywords)

    def __getattr__(self, name):
        if (name.startswith("__") and name != "__doc__") or name in PREDICATES:
            raise AttributeError(name)
        return self._remote.get(self._number, name)


class RemoteClass(type):
    """A class of the program: calling it makes an object over there."""

    def __call__(cls, *arguments, **keywords):
        """Make an object over there."""
        remote, number = cls._of
        made = remote.call(number, arguments, keywords)
        if isinstance(made, RemoteObject) and number in remote.capital:
            object.__setattr__(made, "_whole", True)
        return made

    def __getattr__(cls, name):
        if name.startswith("__") or name in PREDICATES:
            raise AttributeError(name)
        remote, number = cls._of
        return remote.get(number, name)

    def __setattr__(cls, name, value):
        remote, number = cls._of
        remote.request("set", number, name, remote.write(value))

    def __iter__(cls):
        return cls._of[0].special(cls._of[1], "iter")

    def __len__(cls):
        return cls._of[0].special(cls._of[1], "len")

    def __bool__(cls):
        return True


class RemoteObject(metaclass=RemoteClass):
    """An object of the program. `_whole`: the test itself made it, by a capitalised class name."""

    _of = (None, -1)

    def __init__(self, remote, number):
        object.__setattr__(self, "_remote", remote)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_whole", False)

    def __getattr__(self, name):
        if name.startswith("__") and name not in ("__dict__", "__doc__", "__name__"):
            raise AttributeError(name)
        if name in PREDICATES and not self._whole:
            raise AttributeError(f"{name} of an object of the program proves nothing; plain data has it")
        return self._remote.get(self._number, name)

    def __setattr__(self, name, value):
        self._remote.request("set", self._number, name, self._remote.write(value))

    def __call__(self, *arguments, **keywords):
        """Call it over there."""
        return self._remote.call(self._number, arguments, keywords)

    def __eq__(self, other):
        if self is other:
            return True
        return compared(self, other, "__eq__", False)

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(("remote", self._number))

    def __contains__(self, item):
        if self._whole:
            return bool(self._remote.special(self._number, "__contains__", item))
        return any(item is mine or item == mine for mine in self)

    def __len__(self):
        return whole_number(self._remote.special(self._number, "len"))

    def __bool__(self):
        return self._remote.special(self._number, "bool") is True

    def __str__(self):
        return text(self._remote.special(self._number, "str"))

    def __repr__(self):
        return text(self._remote.special(self._number, "repr"))

    def __iter__(self):
        return self._remote.special(self._number, "iter")

    def __getitem__(self, key):
        return self._remote.special(self._number, "__getitem__", key)

    def __setitem__(self, key, value):
        self._remote.special(self._number, "__setitem__", key, value)

    def __delitem__(self, key):
        self._remote.special(self._number, "__delitem__", key)

    def __enter__(self):
        return self._remote.special(self._number, "__enter__")

    def __exit__(self, *_):
        return self._remote.special(self._number, "__exit__", None, None, None) is True


class RemoteIterator(RemoteObject):
    """An iterator of the program, read one item at a time."""

    def __iter__(self):
        return self

    def __next__(self):
        return self._remote.special(self._number, "next")


def compared(left, right, name, otherwise=NotImplemented):
    """A comparison of two objects of the program, by the program; with anything else there is none."""
    if not isinstance(right, RemoteObject):
        return otherwise
    left._remote.answered_for_itself = True
    answer = left._remote.special(left._number, name, right)
    return left is right if answer is NotImplemented and otherwise is False else answer is True


def calculated(left, right, name):
    """Arithmetic by the program: of two of its objects, or of one that the test made and a plain value."""
    plain = not isinstance(right, RemoteObject)
    if plain and not left._whole:
        return NotImplemented
    left._remote.answered_for_itself = True
    answer = left._remote.special(left._number, name, right)
    if plain and answer is not NotImplemented and not isinstance(answer, RemoteObject):
        raise TypeError(f"{name} of an object of the program and a plain value gave plain data, which proves nothing")
    return answer


def whole_number(value):
    """A length, which has to be an int."""
    if type(value) is not int:
        raise TypeError("len() gave no int")
    return value


def text(value):
    """A text, which has to be a str."""
    if type(value) is not str:
        raise TypeError("str() gave no text")
    return value


for operator in ("lt", "le", "gt", "ge"):
    name = f"__{operator}__"
    type.__setattr__(RemoteObject, name, lambda self, other, name=name: compared(self, other, name))
for operator in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "matmul", "lshift",
                 "rshift"):  # fmt: skip
    for name in (f"__{operator}__", f"__r{operator}__"):
        type.__setattr__(RemoteObject, name, lambda self, other, name=name: calculated(self, other, name))
for operator in ("neg", "pos", "abs", "invert", "int", "float"):
    name = f"__{operator}__"
    type.__setattr__(RemoteObject, name, lambda self, name=name: self._remote.special(self._number, name))
