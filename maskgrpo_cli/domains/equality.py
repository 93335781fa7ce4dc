"""Whether an answer is the reference answer: numbers first, then words, then LaTeX."""

from __future__ import annotations

import re
from fractions import Fraction

from maskgrpo_cli.domains.latex import latex_equal
from maskgrpo_cli.domains.numbers import changes_a_number, parse_number
from maskgrpo_cli.domains.published import normal_form

_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_UNIT = re.compile(r"(?!(?:and|or|to|hundred|thousand|million|billion|dozen)\b)[A-Za-z .,'/-]+\}?[\s.^{}0-9]*")
_BASE = re.compile(r"\s*([0-9A-Za-z]+)_\{?([0-9]+)\}?\s*")


def same_answer(candidate: str, reference: str) -> bool:
    """Whether a person would take `candidate` for `reference`; never raises, and takes under a second.

    A reference that is a plain number is met by a number of exactly that value, or by LaTeX that means it; a
    sum left unevaluated without any LaTeX (`441+361`) is no answer. A reference in words is met by the same
    words. Everything else is compared as a string in MATH's normal form, and then by its meaning.
    """
    if candidate.strip() == reference.strip():
        return True
    if len(candidate) > 1000 or not candidate.strip():
        return False
    wanted = parse_number(reference)
    if wanted is not None:
        found = parse_number(candidate)
        if found is not None:
            return _same_number(found, candidate, wanted, reference)
        is_latex = ("\\" in candidate or "^" in candidate) and "_" not in candidate
        return is_latex and not _says_more(candidate) and _means(candidate, reference)
    based = _BASE.fullmatch(reference)
    if based is not None:
        return _same_in_base(candidate, based[1], based[2])
    words = _words(reference)
    if words is not None:
        return _words(candidate) == words
    return normal_form(uncut(candidate)) == normal_form(uncut(reference)) or _means(candidate, reference)


def uncut(answer: str) -> str:
    """An answer in whose published normal form, which ends at the one `\\text{ `, nothing but a unit gets lost.

    `5\\text{ cm}` may become 5, but `2\\text{ or }3` not 2, and `\\text{ no}` not nothing.
    """
    kept, cut, unit = answer.partition("\\text{ ")
    return answer if not cut or (kept.strip() and _UNIT.fullmatch(unit)) else answer.replace("\\text{ ", "\\text{")


def _says_more(candidate: str) -> bool:
    """Whether the text in it is more than a unit, as in `5\\text{ or }6` and `5\\text{ ft } 6\\text{ in}`.

    The comparison by meaning takes no notice of text.
    """
    for text in _TEXT.finditer(candidate):
        before, behind = candidate[: text.start()], candidate[text.end() :].partition("^")[0]
        if changes_a_number(text[1]) or (re.search("[0-9]", before) and re.search("[0-9]", behind)):
            return True
    return False


def _same_number(found: Fraction, candidate: str, wanted: Fraction, reference: str) -> bool:
    """Equal values; where one of the two is a percentage, it may also stand for a hundredth of its number."""
    if found == wanted:
        return True
    if "%" in candidate and "%" not in reference:
        return found == wanted * 100
    return "%" in reference and "%" not in candidate and found * 100 == wanted


def _same_in_base(candidate: str, digits: str, base: str) -> bool:
    """The same digits, in the same base or with the base left out."""
    match = _BASE.fullmatch(_TEXT.sub(r"\1", candidate.strip(" $")))
    return (match[1], match[2]) == (digits, base) if match else candidate.strip(" $") == digits


def _words(text: str) -> str | None:
    """The words of an answer such as `\\text{Evelyn}` or `(C)`, in small letters; None for mathematics."""
    plain = _TEXT.sub(r"\1", text).strip(" $.\n")
    choice = re.fullmatch(r"\(?([A-Z])\)?", plain)
    if choice and (plain.startswith("(") or plain != text.strip(" $.\n") or len(plain) == 1):
        return choice[1].lower()
    if re.fullmatch(r"[A-Za-z][A-Za-z' ,-]+", plain) is None:
        return None
    return " ".join(plain.lower().replace(",", " , ").split())


def _means(candidate: str, reference: str) -> bool:
    return latex_equal(_undressed(reference), _undressed(candidate))


def _undressed(text: str) -> str:
    """Without the delimiters of math mode, which the comparison adds itself."""
    return re.sub(r"\\[()\[\]]|(?<!\\)\$", " ", text).strip()
