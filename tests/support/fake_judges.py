"""Judges whose taste is known, behind the tests' HTTP server. By itself: ``python tests/fake_judges.py 8000
longer``."""

from __future__ import annotations

import math
import re
import sys
import threading
from typing import Any

from fake_openai_server import Behaviour, Reply, serving

MODEL = "judge-1"


def answers_in(asked: dict[str, Any]) -> tuple[str, str]:
    """The two answers of a request, in the order shown; the templates of ``conf/judge`` put them between tags."""
    said = asked["messages"][-1]["content"]
    first, second = (re.findall(rf"<\w+_{letter}>\n(.*)\n</\w+_{letter}>", said, flags=re.DOTALL)[0] for letter in "AB")
    return first, second


def written(asked: dict[str, Any], verdict: str) -> str:
    """A verdict as the template asks for it: the letter alone, or in brackets after reasons."""
    return (
        f"Both try.\n[[{verdict}>{'B' if verdict == 'A' else 'A'}]]"
        if "[[A>B]]" in asked["messages"][0]["content"]
        else verdict
    )


def always_first(asked: dict[str, Any]) -> str:
    """Likes whoever is shown first."""
    return written(asked, "A")


def longer(asked: dict[str, Any]) -> str:
    """Likes the longer answer, and of equally long ones the one shown second."""
    first, second = answers_in(asked)
    return written(asked, "A" if len(first) > len(second) else "B")


def weighing(asked: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Likes the longer answer, the more so the longer it is, and gives log-probabilities."""
    first, second = answers_in(asked)
    difference = (len(first) - len(second)) / 20
    likely = [
        {"token": letter, "logprob": -math.log1p(math.exp(sign * difference))} for letter, sign in (("A", -1), ("B", 1))
    ]
    letter = max(likely, key=lambda one: float(str(one["logprob"])))
    return str(letter["token"]), {"content": [{**letter, "top_logprobs": likely}]}


def overlapping(asked: dict[str, Any]) -> str:
    """Likes the answer that shares more words with the question."""
    said = set(re.findall(r"\w+", asked["messages"][-1]["content"].split("<answer_of_A>")[0].split("</request>")[0]))
    first, second = (
        len(said & set(re.findall(r"\w+", answer))) / (1 + len(answer.split())) for answer in answers_in(asked)
    )
    return written(asked, "A" if first > second else "B")


JUDGES: dict[str, Reply] = {"first": always_first, "longer": longer, "weighing": weighing, "overlapping": overlapping}

if __name__ == "__main__":
    with serving(Behaviour(reply=JUDGES[sys.argv[2]], models=[MODEL]), int(sys.argv[1])) as address:
        print(address, flush=True)
        threading.Event().wait()
