"""How a fact is put into words: a prompt by skill and style, and the response to it.

In: a `Fact` and the templates chosen for it. Out: text. Everything that chance decides is an
argument, so that the corpus (skewed choices) and the benchmark (even choices) are written by the
same code.
"""

from __future__ import annotations

from sftdiv.data.synthetic.facts import Fact

GAP = "___"


def fields(fact: Fact, false: Fact, *, truth_first: bool) -> dict[str, str]:
    """What templates may name. ``false`` is the claim put beside the true one; a claim to be confirmed is whichever comes first."""
    first, second = (fact, false) if truth_first else (false, fact)
    return {
        "subject": fact.subject,
        "Subject": capitalised(fact.subject),
        "clause": fact.clause,
        "question": fact.question,
        "kind": fact.topic.kind,
        "kinds": fact.topic.kinds,
        "gap": fact.but(GAP).claim,
        "claim": first.claim,
        "verdict": "Yes" if truth_first else "No",
        "first": first.claim,
        "second": second.claim,
    }


def write_prompt(template: str, cue: str, words: dict[str, str]) -> str:
    """The user's turn: what is asked, then how it should be said."""
    return f"{template.format(**words)} {cue}".rstrip()


def write_response(template: str, wrapper: str, words: dict[str, str], *, aside: str) -> str:
    """The assistant's turn: the answer within the words of the style."""
    return wrapper.format(answer=capitalised(template.format(**words)), aside=aside)


def capitalised(text: str) -> str:
    """The text with its first letter in upper case and the rest as it is."""
    return text[:1].upper() + text[1:]
