"""Short stories around a chain of arithmetic, told with a small closed vocabulary.

    Tom has 3 apples. He buys 4 more and eats 2. How many apples are left?
"""

from __future__ import annotations

import re

from maskgrpo_cli.domains.arithmetic import LARGEST, Chain, Draws, Step

LONGEST = 24  # pieces in a question: words, numbers and punctuation marks
OPERATORS = ("+", "-", "*", "/", "=", ";")
TAGS = ("<reasoning>", "</reasoning>", "\\boxed{", "}")

_BOYS = ("Tom", "Ben", "Sam", "Max", "Leo", "Jim", "Dan", "Ali")
_GIRLS = ("Ann", "Mia", "Eva", "Zoe", "Lily", "Sue", "Kim", "Rosa")
_FOOD = ("apples", "plums", "cookies", "nuts", "eggs", "pears", "figs", "cakes")
_GOODS = ("books", "cards", "coins", "stamps", "pens", "shells", "marbles", "toys")

# What may happen to what somebody has: {n} is the operand, {friend} another person.
_EVENTS = {
    "+": ("buys {n} more", "finds {n} more", "gets {n} more", "gets {n} from {friend}", "wins {n}",
          "picks up {n}"),
    "-": ("loses {n}", "gives {n} to {friend}", "sells {n}", "gives away {n}", "drops {n}", "hides {n}"),
    "*2": ("doubles them", "gets as many again"),
    "*3": ("triples them", "makes it 3 times as many"),
    "*4": ("quadruples them", "makes it 4 times as many"),
    "/2": ("gives half to {friend}", "sells half", "keeps half"),
    "/3": ("keeps a third", "saves only a third"),
    "/4": ("keeps a quarter", "saves only a quarter"),
}
_EAT = {"-": ("eats {n}", "bakes with {n}"), "/2": ("eats half",)}

_OPENINGS = ("{name} has {n} {things}.", "{name} buys {n} {things}.", "{name} finds {n} {things}.",
             "{name} starts with {n} {things}.", "One day {name} gets {n} {things}.")
_COLOURS = (("red", "green"), ("big", "small"), ("old", "new"), ("good", "bad"))
_SUM_OPENINGS = ("{name} has {a} {this} and {b} {that} {things}.",
                 "{name} finds {a} {this} and {b} {that} {things}.")
_PRODUCT_OPENINGS = ("{name} has {a} bags with {b} {things} each.",
                     "{name} fills {a} boxes with {b} {things} each.")
_QUESTIONS = ("How many {things} does {name} have now?", "How many {things} now?", "How many in the end?",
              "How many does {he} have?", "What is the total now?")
_LEFT = ("How many are left?", "How many {things} are left?", "How many does {he} have left?")


def question(chain: Chain, draws: Draws) -> str:
    """A story whose steps are those of the chain, in their order; at most `LONGEST` pieces."""
    while True:
        text = _tell(chain, draws)
        if len(pieces(text)) <= LONGEST:
            return text


def pieces(text: str) -> list[str]:
    """The words, numbers, signs and tags of a text, without the space between them."""
    return re.findall(r"</?reasoning>|\\boxed\{|[A-Za-z]+|[0-9]+|\S", text)


def vocabulary() -> list[str]:
    """Every piece of questions and answers: tags, signs, the numbers 0 to 20, then words by the alphabet."""
    texts = [*_OPENINGS, *_SUM_OPENINGS, *_PRODUCT_OPENINGS, *_QUESTIONS, *_LEFT, *_BOYS, *_GIRLS,
             *_FOOD, *_GOODS, "He he She she Then then and", *(word for pair in _COLOURS for word in pair)]
    texts += [text for events in (_EVENTS, _EAT) for group in events.values() for text in group]
    words = {word for text in texts for word in re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", " ", text))}
    return [*TAGS, *OPERATORS, ".", ",", "?", *map(str, range(LARGEST + 1)), *sorted(words)]


def worked(chain: Chain) -> str:
    """The completion that shows its work: `<reasoning>3+4=7;7-2=5</reasoning>\\boxed{5}`."""
    return f"<reasoning>{';'.join(map(str, chain))}</reasoning>\\boxed{{{chain[-1].result}}}"


def terse(chain: Chain) -> str:
    """The completion that only states the answer: `<reasoning>5</reasoning>\\boxed{5}`."""
    return f"<reasoning>{chain[-1].result}</reasoning>\\boxed{{{chain[-1].result}}}"


def _tell(chain: Chain, draws: Draws) -> str:
    boy = draws.random() < 0.5
    edible = draws.random() < 0.5
    name = draws.among(_BOYS if boy else _GIRLS)
    words = {"name": name, "he": "he" if boy else "she", "things": draws.among(_FOOD if edible else _GOODS),
             "friend": draws.among([other for other in _BOYS + _GIRLS if other != name])}
    opening, rest = _opening(chain, words, draws)
    events = [_event(step, edible, words, draws) for step in rest]
    reduces = chain[-1].op in "-/"
    closing = draws.among(_LEFT if reduces and draws.random() < 0.5 else _QUESTIONS).format(**words)
    return f"{opening} {_join(events, words['he'].capitalize(), draws)} {closing}"


def _opening(chain: Chain, words: dict[str, str], draws: Draws) -> tuple[str, Chain]:
    """The first sentence, and the steps that it leaves to tell: it may hold the first one already."""
    first = chain[0]
    if first.op in "+*" and draws.random() < 0.4:
        this, that = draws.among(_COLOURS)
        form = draws.among(_SUM_OPENINGS if first.op == "+" else _PRODUCT_OPENINGS)
        return form.format(a=first.left, b=first.right, this=this, that=that, **words), chain[1:]
    return draws.among(_OPENINGS).format(n=first.left, **words), chain


def _event(step: Step, edible: bool, words: dict[str, str], draws: Draws) -> str:
    kind = step.op if step.op in "+-" else f"{step.op}{step.right}"
    forms = _EVENTS[kind] + (_EAT.get(kind, ()) if edible else ())
    return draws.among(forms).format(n=step.right, **words)


def _join(events: list[str], pronoun: str, draws: Draws) -> str:
    """The events as one sentence or two, in their order."""
    if len(events) == 1:
        return f"{pronoun} {events[0]}."
    if draws.random() < 0.5:
        return f"{pronoun} {', '.join(events[:-1])} {draws.among(('and', 'then'))} {events[-1]}."
    return f"{pronoun} {' and '.join(events[:-1])}. Then {pronoun.lower()} {events[-1]}."
