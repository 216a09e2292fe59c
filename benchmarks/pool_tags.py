"""Tags of the pool's instructions: keyphrase taggers, the steps of the normalisation, and an unreliable server.

    python benchmarks/pool_tags.py taggers ../shared/data/pool-117k.parquet
    python benchmarks/pool_tags.py steps ../shared/data/pool-117k.parquet
    python benchmarks/pool_tags.py llm ../shared/data/pool-117k.parquet

``taggers`` needs yake and rake-nltk (pip install --target /tmp/kp --no-deps yake segtok jellyfish
tabulate rake-nltk; PYTHONPATH=/tmp/kp). Times are processor seconds, since the machine is shared.
"Task" is the accuracy of naive Bayes over the tags at predicting the task of an unseen distinct
instruction (five folds, without AlpacaEval, whose "task" is the answering model); texts without tags count.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from sftdiv.llm.endpoint import Endpoint
from sftdiv.units.tagging.keyphrase import KeyphraseTagger
from sftdiv.units.tagging.llm import LlmTagger
from sftdiv.units.tagging.merging import counts_of, incidence, renamed

SAMPLE = 3_000


def labelled(path: str) -> pd.DataFrame:
    """Distinct instructions with the task of their first row, without AlpacaEval."""
    pool = pd.read_parquet(path, columns=["instruction", "source", "task"])
    pool = pool[~pool["source"].str.startswith("alpacaeval")]
    return pool.drop_duplicates("instruction").sort_values("instruction").reset_index(drop=True)


def predicted(held: scipy.sparse.csr_array, task: Iterable[str]) -> float:
    """Accuracy of predicting the task from the tags, over five folds."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.naive_bayes import MultinomialNB

    folds = KFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(MultinomialNB(alpha=0.01), scipy.sparse.csr_matrix(held), list(task), cv=folds).mean())


def keyphrases(prefer_long: float, least: int) -> Callable[[Sequence[str]], list[list[str]]]:
    tagger = KeyphraseTagger(per_example=4, longest=2, min_documents=least, max_share=0.1, prefer_long=prefer_long)
    return lambda texts: [list(tags) for tags in tagger.tag(texts, Path()).tags]


def yake(texts: Sequence[str]) -> list[list[str]]:
    from yake import KeywordExtractor  # type: ignore[import-not-found]

    extractor = KeywordExtractor(lan="en", n=2, top=4)
    return [[phrase.lower() for phrase, _ in extractor.extract_keywords(text)] for text in texts]


def rake(texts: Sequence[str]) -> list[list[str]]:
    import re

    from rake_nltk import Rake  # type: ignore[import-not-found]
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    sentences, words = (
        re.compile(r"(?<=[.!?])\s+"),
        re.compile(r"\w+|[^\w\s]"),
    )  # in place of NLTK's, which are a download
    extractor = Rake(
        stopwords=set(ENGLISH_STOP_WORDS),
        max_length=2,
        sentence_tokenizer=sentences.split,
        word_tokenizer=words.findall,
    )
    tags = []
    for text in texts:
        extractor.extract_keywords_from_text(text)
        tags.append(list(dict.fromkeys(extractor.get_ranked_phrases()))[:4])
    return tags


def taggers(path: str) -> None:
    """All taggers on a sample, for tags of two or more texts; all but YAKE on all texts, for tags of twenty or more."""
    everything = labelled(path)
    sample = everything.sample(SAMPLE, random_state=0)
    head = ["tagger", "texts", "shared by", "processor s", "tags", "tags a text", "texts with a tag", "task"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for rows, least in ((sample, 2), (everything, 20)):
        ours = {f"key phrases, prefer_long={power}": keyphrases(power, least) for power in (0.0, 1.0)}
        for name, tag in (
            ours | {"RAKE (rake-nltk 1.0.6)": rake} | ({"YAKE 0.7.3": yake} if rows is sample else {})
        ).items():
            compare(name, tag, rows, least)


def compare(name: str, tag: Callable[[Sequence[str]], list[list[str]]], rows: pd.DataFrame, least: int) -> None:
    started = time.process_time()
    tags = tag(rows["instruction"].tolist())
    seconds = time.process_time() - started
    names, held = incidence(tags)
    kept, shared = renamed(
        held, [tag if count >= least else None for tag, count in zip(names, counts_of(held), strict=True)]
    )
    tagged = (np.diff(shared.indptr) > 0).mean()
    of_text = f"{shared.nnz / len(rows):.2f} | {tagged:.1%} | {predicted(shared, rows['task']):.3f}"
    print(f"| {name} | {len(rows):,} | {least} | {seconds:.1f} | {len(kept):,} | {of_text} |", flush=True)
    common = [kept[tag] for tag in np.argsort(-counts_of(shared), kind="stable")[:15]]
    print(
        "   ",
        name,
        common,
        list(zip([text[:60] for text in rows["instruction"][:4]], tags[:4], strict=True)),
        file=sys.stderr,
    )


def composed_units(path: str, *overrides: str) -> tuple[Any, Any, float]:
    """The corpus's artifacts, its tags, and the processor seconds they took."""
    from sftdiv.config.from_python import compose_run
    from sftdiv.pipeline.run_artifacts import RunArtifacts
    from sftdiv.storage.cache import Store

    common = ["corpus=files", f"corpus.path={path}", "corpus.columns=[task]", "strategy=meso_tag", "tracking=none"]
    request = compose_run([*common, *overrides])
    artifacts = RunArtifacts(request.spec, Store(request.paths.cache)).data
    len(artifacts.corpus)
    started = time.process_time()
    units = artifacts.units(request.spec.strategy)
    return artifacts, units, time.process_time() - started


def steps(path: str) -> None:
    variants = [f"strategy/normalise={name}" for name in ("none", "light", "instag", "instag_offline")]
    variants += ["strategy/normalise=light strategy.units.normaliser.frequency=null"]
    variants += ["strategy/normalise=instag strategy.units.normaliser.association.mutual=false"]
    variants = [f"{variant} strategy.units.tagger.prefer_long=1" for variant in variants]
    column = [
        "strategy/tagger=column strategy.column=task",
        "strategy/tagger=column strategy.column=task strategy/normalise=instag",
    ]
    changes = [f"{what} {when}" for what in ("tags", "held", "texts without") for when in ("before", "after")]
    head = ["setting", "processor s", "step", *changes, "task"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for variant in [*variants, *column]:
        artifacts, units, seconds = composed_units(path, *variant.split())
        corpus = artifacts.corpus
        texts = pd.DataFrame(
            {"text": corpus.column("instruction"), "task": corpus.column("task"), "source": corpus.column("source")}
        )
        first = texts[~texts["source"].str.startswith("alpacaeval")].drop_duplicates("text").index.to_numpy()
        task = "" if "column" in variant else f"{predicted(units.matrix[first], texts['task'].to_numpy()[first]):.3f}"
        made = units.made_by
        counts = f"{made['raw_tags']:,} | {made['tags']:,} | | {units.matrix.nnz:,} |"
        untagged = f"{made['untagged']:,} of {len(texts):,} rows"
        print(f"| `{variant}` | {seconds:.1f} | all | {counts} | {untagged} | {task} |")
        for step in units.record["steps"]:
            numbers = [
                f"{step[f'{what}_{when}']:,}"
                for what in ("tags", "assignments", "untagged")
                for when in ("before", "after")
            ]
            print(f"| | | {step['step']} | " + " | ".join(numbers) + " | |")
            print("   ", step["step"], step["largest"], file=sys.stderr)


def llm(path: str) -> None:
    """Tags of the same texts from a reliable and from an unreliable server, which must be equal."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from openai_server import Behaviour, often, serving  # type: ignore[import-not-found]

    prompt = 'Name tags.\n[begin]\n{text}\n[end]\nAnswer as [{"tag": str, "explanation": str}].'
    texts = labelled(path)["instruction"].sample(SAMPLE, random_state=0).tolist()
    tags: list[Any] = []
    for share in (0.0, 0.3):
        with serving(Behaviour(faults=often(share), slow=4.0)) as address, tempfile.TemporaryDirectory() as partial:
            hurried: dict[str, Any] = {"tries": 8, "wait": 0.01, "longest_wait": 0.5, "requests_per_minute": None}
            hurried |= {"batch": None, "batch_requests": 20_000}
            endpoint = Endpoint(base_url=address, api_key_env=None, concurrency=64, timeout=3, **hurried)
            asked: dict[str, Any] = {
                "structured": "auto",
                "temperature": 0.0,
                "retry_temperature": 0.7,
                "seed": 0,
                "max_tokens": 512,
            }
            limits: dict[str, Any] = {"max_chars": 2000, "retries": 4, "max_failed": 0.0, "extra": {}}
            started = time.perf_counter()
            raw = LlmTagger(endpoint=endpoint, model="tagger-1", prompt=prompt, **asked, **limits).tag(
                texts, Path(partial)
            )
            counts = {name: value for name, value in raw.record.items() if name != "prompt"}
            print(f"{share:.0%} of requests fail: {time.perf_counter() - started:.1f} s, {counts}")
            tags.append(raw.tags)
    print("same tags:", tags[0] == tags[1], f"({sum(map(len, tags[0])):,} tags of {len(texts):,} texts)")


SECTIONS: dict[str, Callable[[str], None]] = {"taggers": taggers, "steps": steps, "llm": llm}

if __name__ == "__main__":
    SECTIONS[sys.argv[1]](sys.argv[2])
