"""Words a fact: a prompt by skill and style, and the response to it.

All random choices are arguments, so that the corpus (skewed choices) and the benchmark (even choices)
are written by the same code.
"""

from __future__ import annotations

from sftdiv.data.synthetic.facts import Fact

GAP = "___"


def fields(fact: Fact, false: Fact, *, truth_first: bool) -> dict[str, str]:
    """Fields of the templates.

    Args:
        fact: The true claim.
        false: The false claim beside it.
        truth_first: Whether the true claim comes first; the first one is the claim to be confirmed.
    """
    first, second = (fact, false) if truth_first else (false, fact)
    return {
        "subject": fact.subject,
        "Subject": capitalised(fact.subject),
        "clause": fact.clause,
        "question": fact.question,
        "kind": fact.topic.kind,
        "kinds": fact.topic.kinds,
        "gap": fact.with_value(GAP).claim,
        "claim": first.claim,
        "verdict": "Yes" if truth_first else "No",
        "first": first.claim,
        "second": second.claim,
    }


def write_prompt(template: str, cue: str, words: dict[str, str]) -> str:
    """The user's turn: the question, then the cue of the style."""
    return f"{template.format(**words)} {cue}".rstrip()


def write_response(template: str, wrapper: str, words: dict[str, str], *, aside: str) -> str:
    """The assistant's turn: the answer inside the wrapper of the style."""
    return wrapper.format(answer=capitalised(template.format(**words)), aside=aside)


def capitalised(text: str) -> str:
    """The text with its first letter in upper case and the rest unchanged."""
    return text[:1].upper() + text[1:]
