"""Embedding selectors through the real command: the order of the corpus's file decides nothing."""

import json
import random

import pyarrow.parquet as pq
import pytest
from small_runs import environment, paths
from warm_process import run_program

WORDS = ["river", "stone", "market", "engine", "violin", "planet", "garden", "sugar", "window", "battle", "harbour"]


@pytest.fixture
def corpus(tmp_path):
    """200 pairs of a few words each, many of them copies on one side; as a file in two orders."""
    rng = random.Random(0)
    rows = []
    for number in range(200):
        answer = " ".join(rng.choices(WORDS, k=4)) if number % 3 else " ".join(WORDS[number % 5 : number % 5 + 3])
        rows.append({"instruction": f"{rng.choice(WORDS)} {number}?", "output": answer, "score": number % 7})
    for name in ("first", "second"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        rng.shuffle(rows)
    return tmp_path


def run(folder, name, *overrides):
    settings = [f"corpus.path={folder}/{name}.jsonl", "corpus=files", "corpus.columns=[score]", "strategy=random"]
    settings += [
        "size.n=40",
        "embedder=lsa",
        "embedder.max_share=0.9",
        "stop_after=select",
        "tracking=none",
        *paths(folder / name),
    ]
    before = set(folder.glob(f"{name}/outputs/single/*"))
    done = run_program("sftdiv.run", *settings, *overrides, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    (cell,) = set(folder.glob(f"{name}/outputs/single/*")) - before
    return cell, done.stdout


@pytest.mark.parametrize(
    "overrides",
    [
        ["selector=k_center", "selection.selector.whiten=true"],
        ["selector=log_det", "selection.match=length"],
        ["selector=facility_location", "selection.selector.quality=0.3", "selection.selector.column=score"],
        ["selector=novel_select"],
        ["selector=deita", "selection.selector.column=score", "selection.selector.threshold=0.7"],
    ],
    ids=lambda overrides: overrides[0].partition("=")[2],
)
def test_a_shuffled_corpus_has_the_same_subset(corpus, overrides):
    name = overrides[0].partition("=")[2]
    (first, shown), (second, _) = (run(corpus, order, *overrides) for order in ("first", "second"))
    ids = [pq.read_table(cell / "subset.parquet").column("id").to_pylist() for cell in (first, second)]
    assert ids[0] == ids[1] and len(set(ids[0])) == 40
    row = json.loads((first / "result.json").read_text())
    assert first.name.startswith(f"{name}-response-n40-")
    assert (row["selector"], row["kind"], row["level"], row["n"]) == (name, "selector", None, 40)
    assert "no level" in shown and f"selector  {name}" in shown
    assert [column for column in row if column.startswith(f"{name}.")]
