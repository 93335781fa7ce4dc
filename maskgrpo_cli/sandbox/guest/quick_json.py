"""JSON by the C functions under `json`, whose import would cost a third of the start of a process."""

from _json import encode_basestring_ascii, make_encoder, make_scanner

SPACE = " \t\n\r"


class Settings:
    """What the scanner asks its context."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__


def not_json(value):
    """What the encoder cannot write."""
    raise TypeError(f"{type(value).__name__} is no JSON")


scan = make_scanner(Settings)
encode = make_encoder(None, not_json, encode_basestring_ascii, None, ":", ",", False, False, True)


def dumps(value):
    """The compact text of a value; raises TypeError for what is no JSON, RecursionError where it is too deep."""
    return "".join(encode(value, 0))


def loads(text):
    """The value of a text; raises ValueError for what is no JSON."""
    try:
        value, end = scan(text, 0)
    except StopIteration as error:
        raise ValueError("no JSON") from error
    if text[end:].strip(SPACE):
        raise ValueError("something behind the JSON")
    return value
