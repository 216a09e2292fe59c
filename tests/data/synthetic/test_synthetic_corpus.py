"""The embedded world: what is true, what is held out, how it is skewed, and what the benchmark asks."""

import json
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from sftdiv.data.synthetic.facts import Fact, squares
from sftdiv.data.synthetic.lexicon import load_lexicon
from sftdiv.data.synthetic.sampling import pick
from sftdiv.data.synthetic.tasks import score_answer, score_choices
from sftdiv.data.synthetic.wording import fields, write_prompt, write_response
from sftdiv.data.synthetic.world import World
from sftdiv.records import SftdivError


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=7, size=4_000, skew=1.0)


@pytest.fixture(scope="module")
def samples(world):
    return list(world.samples())


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]+", text)


def topic_entropy(world: World) -> float:
    counts = np.array(list(Counter(example.extra["topic"] for example in world.samples()).values()))
    return float(-(counts / counts.sum() * np.log2(counts / counts.sum())).sum())


def test_a_fact_in_words():
    birds = load_lexicon().topics[0]
    fact = Fact(birds, "heron", birds.attributes[0], "willow")
    told = fields(fact, fact.with_value("oak"), truth_first=False)
    response = "Certainly. No, the heron nests in the willow."
    assert fact.claim == "the heron nests in the willow"
    assert (
        write_prompt("Is it true that {claim}?", "Be courteous.", told)
        == "Is it true that the heron nests in the oak? Be courteous."
    )
    assert write_response("{verdict}, {subject} {clause}.", "Certainly. {answer}", told, aside="") == response


def test_names_are_unique_and_no_template_uses_one():
    lexicon = load_lexicon()
    names = [name for options in lexicon.values.values() for name in options]
    assert len(set(map(str.lower, names))) == len(names) == 20 * (12 + 4)
    templates = [attribute.clause + attribute.question for topic in lexicon.topics for attribute in topic.attributes]
    templates += [text for skill in lexicon.skills for text in [*skill.prompts, skill.response]]
    templates += [text for style in lexicon.styles for text in [*style.cues, *style.wrappers]] + list(
        lexicon.statements
    )
    assert not {word.lower() for text in templates for word in words(text)} & {name.lower() for name in names}


def test_the_same_seed_writes_the_same_world_and_another_seed_another(world, samples):
    twin, other = World(seed=7, size=4_000, skew=1.0), World(seed=8, size=4_000, skew=1.0)
    assert samples == list(twin.samples())
    assert (world.statements, world.items()) == (twin.statements, twin.items())
    assert len(world.held_out & other.held_out) < 0.1 * len(world.held_out)


def test_a_larger_corpus_begins_with_the_smaller(samples):
    assert list(World(seed=7, size=50, skew=1.0).samples()) == samples[:50]


def test_samples_are_distinct(samples):
    assert len({json.dumps(example.messages) for example in samples}) == len(samples) == 4_000


def test_a_world_too_small_for_the_size_says_how_much_it_can_write():
    with pytest.raises(SftdivError, match=r"can write only \d+ distinct samples, not corpus.samples=3"):
        list(World(seed=0, size=3, skew=400.0).samples())  # with this skew all draws are the commonest of everything


def test_no_conversation_brings_together_the_two_names_of_a_held_out_fact(world, samples):
    """By text alone: prompts and responses of every skill (a rewriting holds its fact in the prompt) and the asides."""
    values_of = {entity: {value for name, value in world.held_out if name == entity} for entity, _ in world.held_out}
    names = {name for options in world.lexicon.values.values() for name in options}
    finder = re.compile(r"\b(" + "|".join(sorted(names, key=len, reverse=True)) + r")\b", re.IGNORECASE)
    spelling = {name.lower(): name for name in names}
    for example in samples:
        text = " ".join(message["content"] for message in example.messages)
        told = {spelling[name.lower()] for name in finder.findall(text)}
        leaked = [(name, value) for name in told for value in values_of.get(name, set()) & told]
        assert not leaked, f"{leaked} in {text!r}"


def test_every_held_out_fact_is_read_by_the_base_model(world):
    text = " ".join(world.statements).lower()
    facts = [fact for table in world.tables for square in squares(table) for fact in square]
    assert len(facts) == len(world.held_out) == 12 * 40
    assert all(fact.claim.lower() in text for fact in facts)


def test_the_base_model_reads_no_prompt(world):
    assert not any("?" in statement for statement in world.statements)


@pytest.mark.parametrize("choice", ["topic", "skill", "style"])
def test_topics_skills_and_styles_have_a_head_and_a_tail(samples, choice):
    counts = [count for _, count in Counter(example.extra[choice] for example in samples).most_common()]
    assert counts[0] > 3 * counts[-1]
    assert all(first > second for first, second in pairwise(counts[:3]))


def test_skew_zero_is_even():
    assert topic_entropy(World(seed=7, size=3_000, skew=0.0)) > np.log2(12) - 0.02
    assert topic_entropy(World(seed=7, size=3_000, skew=1.0)) < np.log2(12) - 0.3


def test_pick_follows_zipf():
    rng = np.random.default_rng(0)
    counts = Counter(pick("abc", 1.0, rng) for _ in range(6_000))
    assert [counts[letter] / 6_000 for letter in "abc"] == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.02)


def test_topics_share_their_words(samples):
    """Strategies can only disagree where a word does not give its topic away."""
    topics_of: dict[str, set[str]] = {}
    for example in samples:
        for word in words(example.messages[1]["content"]):
            topics_of.setdefault(word, set()).add(example.extra["topic"])
    assert np.mean([len(topics) >= 2 for topics in topics_of.values()]) > 0.8
    assert np.median([len(topics) for topics in topics_of.values()]) >= 4


def test_topics_do_not_differ_much_in_length(samples):
    lengths = {topic: [] for topic in {example.extra["topic"] for example in samples}}
    for example in samples:
        lengths[example.extra["topic"]].append(len(words(example.messages[1]["content"])))
    means = [np.mean(each) for each in lengths.values()]
    assert max(means) < 1.25 * min(means)


def test_tags_are_known_and_about_four_a_sample(samples):
    example = samples[0]
    attribute, value, skill, style = example.extra["tags"]
    assert value in example.messages[1]["content"]
    assert value in load_lexicon().values[attribute]
    assert (skill, style) == (example.extra["skill"], example.extra["style"])


def test_the_benchmark_is_spread_evenly(world):
    items = world.items()
    assert len(items) == 12 * 10 * 7
    assert set(Counter((item.topic, item.skill) for item in items).values()) == {10}
    assert set(Counter((item.topic, item.style) for item in items).values()) <= {23, 24}
    assert "chatty" not in {item.style for item in items}


def test_the_benchmark_asks_head_and_tail_alike(world):
    asked = {name for name, _ in world.held_out}
    assert asked == {entity for topic in world.lexicon.topics for entity in topic.entities}


def test_a_square_is_two_entities_by_two_attributes_and_covers_every_attribute(world):
    for table in world.tables:
        for square in squares(table):
            assert len({fact.entity for fact in square}) == len({fact.attribute.name for fact in square}) == 2
            assert len({fact.value for fact in square}) == 4
        asked = Counter(fact.attribute.name for square in squares(table) for fact in square)
        assert len(asked) == 6
        assert max(asked.values()) <= 8


def test_distractors_are_true_and_each_is_a_reference_elsewhere(world):
    """A choice states a held-out fact, so neither knowing the facts nor a habit from training picks the reference."""
    held_out = {
        table[0][0].topic.name: [fact for square in squares(table) for fact in square] for table in world.tables
    }
    for item in world.items():
        stated = []
        for choice in item.choices:
            told = [
                fact
                for fact in held_out[item.topic]
                if fact.clause in choice and fact.subject.lower() in choice.lower()
            ]
            assert len(told) == 1, choice
            stated += told
        gold = stated[item.gold]
        assert Counter((fact.entity == gold.entity, fact.attribute == gold.attribute) for fact in stated) == {
            (True, True): 1,
            (True, False): 1,
            (False, True): 1,
            (False, False): 1,
        }


def test_scores_of_one_item_by_hand():
    item = {"choices": ["one two", "three", "four", "five"], "gold": 0}
    assert score_choices(item, [(-1.0, False), (-2.0, False), (-3.0, False), (-4.0, False)]) == {
        "acc": 1.0,
        "word_probability": pytest.approx(np.exp(-0.5)),
    }
    assert score_choices(item, [(-2.0, False), (-1.0, False), (-3.0, False), (-4.0, False)])["acc"] == 0.0


@pytest.mark.parametrize(
    ("answer", "exact", "but_value"),
    [
        (" The heron nests in the willow.", 1.0, 1.0),
        ("The heron nests in the oak.", 0.0, 1.0),
        ("The heron nests in the.", 0.0, 0.0),
        ("The wren nests in the willow.", 0.0, 0.0),
        ("The heron has grey wings.", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_an_answer_may_be_right_but_for_the_value(answer, exact, but_value):
    item = {"plain_answer": "The heron nests in the willow.", "value": "willow"}
    assert score_answer(item, [answer]) == {"exact_match": exact, "exact_but_value": but_value}


def test_every_plain_answer_holds_its_value_once(world):
    assert all(item.plain_answer.count(item.value) == 1 for item in world.items())


@pytest.mark.parametrize(
    ("setting", "reason"),
    [({"size": 0}, "corpus.samples=0"), ({"skew": -1.0}, "corpus.skew=-1.0"), ({"seed": -1}, "corpus.seed=-1")],
)
def test_settings_out_of_range_say_so(setting, reason):
    with pytest.raises(SftdivError, match=reason):
        World(**{"seed": 0, "size": 10, "skew": 1.0} | setting)


def test_lm_eval_loads_the_tasks_offline(world, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    from lm_eval.tasks import TaskManager

    names = world.write_tasks(tmp_path)
    loaded = TaskManager(include_path=str(tmp_path), include_defaults=False).load(names)["tasks"]
    choice, generation = (loaded[name] for name in names)
    item, first = world.items()[0], next(iter(choice.test_docs()))
    assert choice.doc_to_text(first) == item.prompt
    assert choice.doc_to_choice(first) == list(item.choices)
    assert choice.doc_to_target(first) == item.gold
    assert generation.doc_to_text(first) == item.plain_prompt
    assert generation.doc_to_target(first) == item.plain_answer
