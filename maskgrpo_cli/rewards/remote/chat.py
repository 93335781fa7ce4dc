"""Judges behind an OpenAI-compatible chat endpoint (vLLM, SGLang): a picture, a question, a number in the answer."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any

from maskgrpo_cli.rewards.remote.adapter import BadAnswer, Sample, Scores, Unscored, as_file, clean, short

LONGEST = 100_000  # characters of an answer in which a score is looked for
PATTERN = r"Final Score:[\s*]*(-?\d+(?:\.\d+)?)"
QUESTION = """You are given a text caption and a generated image based on that caption. Your task is to evaluate this \
image based on two key criteria:
1. Alignment with the Caption: Assess how well this image aligns with the provided caption. Consider the accuracy of \
depicted objects, their relationships, and attributes as described in the caption.
2. Overall Image Quality: Examine the visual quality of this image, including clarity, detail preservation, color \
accuracy, and overall aesthetic appeal.
Based on the above criteria, assign a score from 1 to 5 after 'Final Score:'.
Your task is provided as follows:
Text Caption: [{prompt}]"""


class Chat:
    """Asks a judge about one completion at a time, at temperature 0.

    Args:
        model: the judge's name at the endpoint.
        question: its {prompt} is replaced by the prompt, its {completion} by a completion that is text; a picture
            comes before it.
        pattern: a regular expression; the first group of its first match is the score.
        low, high: the range of scores. What has no score in it is a failed sample, never a zero.
        max_tokens: of the judge's answer.
    """

    most, tries = 1, 3
    path, health, content_type = "/chat/completions", None, "application/json"

    def __init__(
        self, model: str, question: str = QUESTION, pattern: str = PATTERN, low: float = 1.0, high: float = 5.0,
        max_tokens: int = 1024,
    ):
        self.model, self.question, self.max_tokens = model, question, max_tokens
        self.pattern, self.low, self.high = re.compile(pattern), low, high

    def write(self, samples: Sequence[Sample]) -> tuple[bytes, None]:
        """The conversation about one completion."""
        (sample,) = samples
        content: list[dict[str, Any]] = []
        words = {"prompt": sample.prompt}
        if isinstance(sample.completion, str):
            words["completion"] = sample.completion
        else:
            picture = base64.b64encode(as_file(sample.completion, "PNG")).decode()
            content.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}})
        # all at once: a prompt may hold the other's name
        question = re.sub(r"\{(prompt|completion)\}", lambda m: words.get(m[1], m[0]), self.question)
        content.append({"type": "text", "text": question})
        asked = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        return json.dumps(asked).encode(), None

    def read(self, body: bytes, about: None) -> Scores:
        """The one score."""
        try:
            answer = json.loads(body)
            text = answer["choices"][0]["message"]["content"]
        except (ValueError, RecursionError) as error:
            raise BadAnswer("its answer is no JSON") from error
        except (KeyError, IndexError, TypeError) as error:
            raise BadAnswer("its answer is no chat completion: it has no choices[0].message.content") from error
        if text is None:  # an answer that was cut off while the judge still thought
            return [Unscored("the judge wrote nothing")]
        if not isinstance(text, str):
            raise BadAnswer(f"choices[0].message.content is {short(text)}, not text")
        return [self.score(text)]

    def score(self, text: str) -> float | Unscored:
        """The score in what the judge wrote."""
        found = self.pattern.search(text[:LONGEST])
        try:
            score = float(found[1]) if found else None
        except (ValueError, TypeError):  # a pattern of the user's whose group holds no number
            score = None
        if score is None:
            return Unscored(f"the judge named no score: {clean(text, 120)!r}")
        if not self.low <= score <= self.high:
            return Unscored(f"the judge's score {score:g} is not within {self.low:g} to {self.high:g}")
        return score

    def complaint(self, status: int, body: bytes) -> tuple[str, bool]:
        """The endpoint's message; where it has none and no such page, how an address is written."""
        try:
            answer = json.loads(body)
            inner = answer.get("error", answer) if isinstance(answer, dict) else {}
            text = inner.get("message") if isinstance(inner, dict) else inner
        except (ValueError, RecursionError):
            text = None
        if isinstance(text, str):
            return clean(text), False
        hint = " (an address of openai-chat ends as OpenAI's does, in /v1)" if status == 404 else ""
        return clean(body) + hint, False
