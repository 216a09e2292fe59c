"""Which examples share text with the items of benchmarks: planted copies, the rule itself, and what is not found."""

import numpy as np
import pyarrow as pa
import pytest

from sftdiv.data.build_corpus import dropped_examples, load_corpus
from sftdiv.data.decontamination import Contamination, ContaminationFinder, Decontamination, merge_benchmarks
from sftdiv.data.item_index import RARE
from sftdiv.data.overlap_words import normalised_words
from sftdiv.protocols import Benchmark
from sftdiv.records import SIDES, Example, SftdivError
from sftdiv.storage.cache import Store

QUESTION = "Which planet of the solar system has the longest day, measured from one sunrise to the next sunrise?"
OTHER = "Name the chemical element whose atoms have the largest number of protons among all that occur in nature."


def finder(**changed):
    return ContaminationFinder(**{"ngram": 8, "share": 0.5, "sides": list(SIDES)} | changed)


def table_of(*pairs, sources=None):
    instructions, responses = zip(*pairs, strict=True)
    return pa.table(
        {
            "instruction": list(instructions),
            "response": list(responses),
            "source": sources or ["a"] * len(pairs),
            "id": [str(row) for row in range(len(pairs))],
        }
    )


def found(pairs, items, **changed):
    """Pairs of example and item."""
    result = finder(**changed).find([table_of(*pairs)], [Benchmark("task", items)])
    return list(zip(result.examples.tolist(), result.items.tolist(), strict=True))


@pytest.mark.parametrize(
    "copy",
    [
        QUESTION,
        QUESTION.upper(),
        QUESTION.replace(",", "").replace("?", "!!"),
        "Answer briefly.\n\n**" + QUESTION.replace(" ", "\n") + "**\nThink first.",
        QUESTION.replace("a", "\uff41"),  # full-width letters
    ],
    ids=["exact", "case", "punctuation", "within a longer text", "unicode"],
)
def test_a_planted_copy_is_found_on_either_side(copy):
    pairs = [("What is two and two?", "Four."), (copy, "Venus."), ("Ask me something.", copy)]
    assert found(pairs, [OTHER, QUESTION]) == [(1, 1), (2, 1)]
    assert found(pairs, [OTHER, QUESTION], sides=["instruction"]) == [(1, 1)]


def test_a_paraphrase_is_not_found():
    """Shared text is found, shared meaning is not: the documentation says so."""
    paraphrase = "On which of the sun's planets does most time pass between two sunrises?"
    assert found([(paraphrase, "Venus.")], [QUESTION]) == []


def test_more_than_half_of_the_words_must_stand_in_shared_ngrams():
    words = [f"w{number}" for number in range(18)]
    item = " ".join(words)

    def example(count):
        return (" ".join(words[:count]) + " end", "x")

    assert found([example(9)], [item]) == []  # 9 of 18 words are half, not more
    assert found([example(10)], [item]) == [(0, 0)]
    assert found([example(7)], [" ".join(words[:9])]) == []  # no n-gram of eight
    apart = (" ".join(words[:8]) + " x", " ".join(words[10:]))  # 16 of 18 words, by both sides together
    assert found([apart], [item]) == [(0, 0)]
    assert found([apart], [item], sides=["response"]) == []
    assert found([example(10)], [item], share=0.6) == []
    assert found([(" ".join(words[:3]), "x")], [item], ngram=3, share=0.1) == [(0, 0)]


def test_an_item_shorter_than_an_ngram_must_equal_a_side():
    items = ["What is 3 + 5?", "Who wrote Faust?", "", "?!"]
    pairs = [
        ("what is 3+5", "8"),
        ("What is 3 - 5?", "-2"),
        ("Who wrote Faust? And when?", "Goethe"),
        ("x", "who wrote  FAUST"),
    ]
    assert found(pairs, items) == [(0, 0), (3, 1)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't pay $1,000.50, ever", ["dont", "pay", "1000.50", "ever"]),
        ("snake_case and 5,4", ["snake", "case", "and", "5", "4"]),
        ("3 + 5 = 8; 7 - 2; 6*7", ["3", "+", "5", "=", "8", "7", "-", "2", "6", "*", "7"]),
        ("well-known - yes", ["well", "known", "yes"]),
        ("東京は 2020", ["東", "京", "は", "2020"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
    ],
)
def test_compared_words(text, words):
    assert normalised_words(text) == words


def by_definition(examples, items, size, share):
    """The rule word by word, without any index."""
    pairs = []
    for example, texts in enumerate(examples):
        sides = [normalised_words(text) for text in texts]
        grams = {tuple(words[at : at + size]) for words in sides for at in range(len(words) - size + 1)}
        for number, item in enumerate(items):
            words = normalised_words(item)
            if len(words) < size:
                covered = bool(words) and words in sides
            else:
                marked = {
                    at + step
                    for at in range(len(words) - size + 1)
                    if tuple(words[at : at + size]) in grams
                    for step in range(size)
                }
                covered = len(marked) > share * len(words)
            if covered:
                pairs.append((example, number))
    return pairs


@pytest.mark.parametrize("seed", range(3))
def test_the_search_equals_the_definition(seed):
    """Few words and a template shared by more items than `RARE`, so that n-grams are common and overlap."""
    rng = np.random.default_rng(seed)

    def text(most):
        return " ".join(f"w{word}" for word in rng.integers(0, 3, size=rng.integers(0, most)))

    template = "choose the best of these answers "
    items = [template + text(12) for _ in range(RARE + 40)] + [text(9) for _ in range(30)]
    examples = [(template + text(20), text(30)) for _ in range(60)] + [(text(20), text(20)) for _ in range(40)]
    for size, share in ((4, 0.5), (3, 0.9), (6, 0.0)):
        expected = by_definition(examples, items, size, share)
        assert found(examples, items, ngram=size, share=share) == expected
        assert len(expected) > 50


def test_what_is_found_is_counted_by_benchmark_and_source_and_shown(tmp_path):
    pairs = [(QUESTION, "Venus."), (QUESTION, "Mars."), (OTHER, "Uranium."), ("Hello there", "Hi.")]
    table = table_of(*pairs, sources=["web", "forum", "web", ""])
    benchmarks = [Benchmark("planets", [QUESTION, "Is it far?"]), Benchmark("all", [OTHER, "hello there!", QUESTION])]
    result = finder().find([table.slice(0, 1), table.slice(1)], benchmarks)
    result.save(tmp_path)
    result = Contamination.load(tmp_path)
    planets, both = result.record["planets"], result.record["all"]
    assert {name: planets[name] for name in ("items", "touched", "examples", "by_source")} == {
        "items": 2, "touched": 1, "examples": 2, "by_source": {"web": 1, "forum": 1},
    }  # fmt: skip
    assert both["examples"] == 4 and both["by_source"] == {"web": 2, "forum": 1, "unnamed": 1}
    assert [pair["item"] for pair in planets["shown"]] == [0]  # one pair for each of at most three items
    assert [(pair["item"], pair["id"]) for pair in both["shown"]] == [(2, "0"), (0, "2"), (1, "3")]
    touched = {name: items.tolist() for name, items in result.touched().items()}
    assert touched == {"planets": [0], "all": [0, 1, 2]}
    of_some = {name: items.tolist() for name, items in result.touched(np.array([2, 3])).items()}
    assert of_some == {"planets": [], "all": [0, 1]}
    assert result.touching(4).all() and result.item_counts() == {"planets": 2, "all": 3}


def test_no_example_and_no_item_are_no_error():
    assert found([("a", "b")], []) == [] and found([("", "")], ["", QUESTION]) == []


def test_benchmarks_of_one_name_must_agree_up_to_a_limit():
    longer, shorter = Benchmark("t", ["a", "b"]), Benchmark("t", ["a"])
    assert merge_benchmarks([shorter, longer]) == merge_benchmarks([longer, shorter]) == [longer]
    with pytest.raises(SftdivError, match="two benchmarks with different items are named t"):
        merge_benchmarks([longer, Benchmark("t", ["b"])])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ngram": 0}, "corpus.contamination.ngram=0"),
        ({"share": 1.0}, "corpus.contamination.share=1.0"),
        ({"sides": ["prompt"]}, "corpus.contamination.sides='prompt'"),
        ({"sides": []}, "must hold instruction, response or both"),
        ({"sides": ["response", "response"]}, "each once"),
    ],
)
def test_settings_out_of_range_are_refused(changed, message):
    with pytest.raises(SftdivError, match=message):
        finder(**changed)


class Pairs:
    """A reader of given pairs."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def identity(self):
        return {"kind": "pairs", "pairs": list(self.pairs)}

    def examples(self, reject):
        for instruction, response in self.pairs:
            yield Example(
                [{"role": "user", "content": instruction}, {"role": "assistant", "content": response}], source="s"
            )


def test_dropped_examples_are_in_no_part_of_the_corpus(tmp_path):
    reader = Pairs(*((f"Question number {row}?", str(row)) for row in range(40)), (QUESTION.lower(), "Venus."))
    store, settings = Store(tmp_path), {"heldout": 2, "seed": 0, "on_bad_row": "error"}
    drop = Decontamination(finder(), [Benchmark("task", [QUESTION])])
    kept, dropped = load_corpus(reader, store, **settings), load_corpus(reader, store, **settings, drop=drop)
    assert set(kept.column("instruction")) - set(dropped.column("instruction")) == {QUESTION.lower()}
    assert dropped.counts["contaminated"] == 1 and "contaminated" not in kept.counts
    assert kept.fingerprint != dropped.fingerprint
    assert dropped_examples(dropped).record["task"]["by_source"] == {"s": 1}
    again = load_corpus(reader, store, **settings, drop=Decontamination(finder(), [Benchmark("task", [OTHER])]))
    assert again.fingerprint == kept.fingerprint and again.counts["contaminated"] == 0  # other items, another corpus
    with pytest.raises(SftdivError, match="leaves none of 1 examples"):
        load_corpus(Pairs((QUESTION, "Venus.")), store, **settings, drop=drop)
