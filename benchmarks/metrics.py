"""Diversity metrics beside the packages in common use, on real responses, and at 30,000 texts and 180 million tokens.

    python benchmarks/metrics.py ../shared/data/pool-117k.parquet [--without scale]

Writes benchmarks/metrics/results.json and results.md. The packages run in a separate environment
(build/peers, created on the first run from benchmarks/metrics/peers.txt), read texts and vectors from
files, and report their seconds without imports. Ours are timed after an untimed call that compiles the
kernels. Where the definitions agree, the values are asserted to be equal. Vectors are LSA's (384
dimensions, fitted on the measured responses); texts are drawn from the pool's responses with a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from sftdiv.diversity.embedding_distance import embedding_distance
from sftdiv.diversity.self_bleu import self_bleu_scores
from sftdiv.diversity.self_repetition import self_repetition
from sftdiv.diversity.vendi import vendi_score
from sftdiv.embeddings.lsa import LsaEmbedder
from sftdiv.records import TokenIds
from sftdiv.storage.files import write_atomically

HERE = Path(__file__).parent
FILES, PEERS, WORK = HERE / "metrics", HERE.parent / "build" / "peers", HERE.parent / "build" / "metrics"
DIMENSIONS = 384


def peers() -> Path:
    """Python of the packages' environment, which is created if it is missing."""
    python, done = PEERS / "bin" / "python", PEERS / "installed"
    if not done.exists():
        venv.create(PEERS, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--quiet", "-r", FILES / "peers.txt"], check=True)
        done.touch()
    return python


def child(*command: str | Path) -> dict[str, Any]:
    """Last line that a process prints, as JSON."""
    ended = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def timed(measure: Callable[[], Any], times: int) -> dict[str, Any]:
    """Fastest wall time and least processor time (less sensitive to load) of several runs, after an uncounted one."""
    seconds, busy, value = [], [], measure()
    for _ in range(times):
        started, worked = time.perf_counter(), time.process_time()
        value = measure()
        seconds.append(time.perf_counter() - started)
        busy.append(time.process_time() - worked)
    return {"seconds": min(seconds), "cpu": min(busy), "value": value}


def texts_file(responses: list[str], size: int) -> tuple[list[str], Path]:
    """``size`` responses of the pool, drawn with a fixed seed, and the file of them for a peer."""
    rows = np.random.default_rng(size).choice(len(responses), size, replace=False)
    texts, path = [responses[row] for row in rows], WORK / f"texts-{size}.json"
    path.write_text(json.dumps(texts), encoding="utf-8")
    return texts, path


def vectors_file(texts: list[str]) -> tuple[np.ndarray, Path]:
    embedder = LsaEmbedder(
        dimensions=DIMENSIONS, min_documents=2, max_share=0.5, max_words=50_000, iterations=4, seed=0
    )
    vectors, path = np.array(embedder.embed(texts, WORK).vectors), WORK / f"vectors-{len(texts)}.npy"
    present = np.linalg.norm(vectors, axis=1) > 0
    vectors[~present] = vectors[present][: (~present).sum()]  # packages that normalise rows do not agree on zeros
    np.save(path, vectors)
    return vectors, path


def numbered_words(texts: list[str]) -> TokenIds:
    """Whitespace-separated words, the unit of the packages, numbered in order of occurrence."""
    split = [text.split() for text in texts]
    flat, names = pd.factorize(np.array([word for words in split for word in words], dtype=object))
    return TokenIds(flat.astype(np.int32), np.cumsum([0, *map(len, split)]), names)


def against_peers(python: Path, responses: list[str]) -> list[dict[str, Any]]:
    """Every comparison of one run: metric, peer, seconds of both, ratio, bar; asserts that the values agree."""
    rows = []

    def compare(what: str, peer: str, ours: dict[str, Any], theirs: dict[str, Any], bar: float) -> None:
        ratio = theirs["seconds"] / ours["seconds"]
        work = theirs["cpu"] / ours["cpu"]
        seconds = {
            "peer seconds": theirs["seconds"],
            "seconds": ours["seconds"],
            "peer cpu": theirs["cpu"],
            "cpu": ours["cpu"],
        }
        rows.append({"metric": what, "peer": peer, **seconds, "ratio": ratio, "cpu ratio": work, "bar": bar})
        spent = f"{peer} {theirs['seconds']:.4g} s, ours {ours['seconds']:.4g} s"
        print(f"{what}: {spent}, {ratio:,.1f} times (of processor time {work:,.1f}; bar {bar:g})", flush=True)

    texts, path = texts_file(responses, 4000)
    ours = timed(lambda: self_repetition(numbered_words(texts)), 5)
    theirs = child(python, FILES / "peer.py", "self_repetition", path)
    assert math.isclose(ours["value"], theirs["value"], rel_tol=1e-12), (ours["value"], theirs["value"])
    compare("self-repetition, 4,000 texts, splitting included", "diversity", ours, theirs, 20)

    vectors, path = vectors_file(texts_file(responses, 5000)[0])
    ours = timed(lambda: embedding_distance(vectors), 20)
    theirs = child(python, FILES / "peer.py", "remote_clique", path)
    assert abs(ours["value"] * 4999 / 5000 - theirs["value"]) < 6e-4, (
        ours["value"],
        theirs["value"],
    )  # it rounds to three places
    compare("mean cosine distance, 5,000 x 384", "diversity remote_clique", ours, theirs, 100)

    ours = timed(lambda: vendi_score(vectors), 9)
    theirs = child(python, FILES / "peer.py", "vendi_dual", path)
    assert math.isclose(ours["value"], theirs["value"], rel_tol=1e-4), (
        ours["value"],
        theirs["value"],
    )  # it computes in float32
    compare("Vendi score, 5,000 x 384", "vendi-score score_dual", ours, theirs, 1)
    theirs = child(python, FILES / "peer.py", "vendi", path)
    assert math.isclose(ours["value"], theirs["value"], rel_tol=1e-4), (ours["value"], theirs["value"])
    compare("Vendi score, 5,000 x 384", "vendi-score score", ours, theirs, 20)

    texts, path = texts_file(responses, 1000)
    ours = timed(lambda: self_bleu_scores(numbered_words(texts)), 5)
    theirs = child(python, FILES / "peer.py", "self_bleu", path)
    assert ours["value"].tolist() == theirs["value"]  # every text, to the last bit
    compare("self-BLEU, 1,000 texts, splitting included", "NLTK sentence_bleu", ours, theirs, 100)
    return rows


def report(rows: list[dict[str, Any]], alone: dict[str, dict[str, Any]], header: str) -> str:
    """The results as a Markdown page."""
    lines = [
        header,
        "",
        "| metric | peer | peer, s | ours, s | ratio | ratio of processor time | bar |",
        "| --- " * 7 + "|",
    ]
    lines += [
        f"| {row['metric']} | {row['peer']} | {row['peer seconds']:.4g} | {row['seconds']:.4g} "
        f"| {row['ratio']:,.1f} | {row['cpu ratio']:,.1f} | {row['bar']:g} |"
        for row in rows
    ]
    lines += ["", "| alone | seconds | peak, GiB | before, GiB | bar |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {row['seconds']:.4g} | {row.get('GiB', math.nan):.2f} "
        f"| {row.get('GiB before', math.nan):.2f} | {row['bar']} |"
        for name, row in alone.items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool")
    parser.add_argument("--without", choices=["peers", "scale"], nargs="*", default=[])
    arguments = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    responses = pq.read_table(arguments.pool, columns=["response"]).column(0).to_pylist()
    rows = [] if "peers" in arguments.without else against_peers(peers(), responses)
    texts, path = texts_file(responses, 30_000)
    words = numbered_words(texts)
    started = time.perf_counter()
    scores = self_bleu_scores(words)
    seconds = time.perf_counter() - started
    alone = {
        f"self-BLEU, 30,000 texts, {len(words.flat):,} words": {
            "seconds": seconds,
            "value": float(scores.mean()),
            "bar": "60 s",
        }
    }
    measured = child(sys.executable, FILES / "ours.py", "six", path, vectors_file(texts)[1])
    alone[f"the paper's six, 30,000 texts, {measured['tokens']:,} tokens, tokenizing included"] = measured | {
        "bar": "60 s, 4 GiB"
    }
    print(json.dumps(alone, indent=1), flush=True)
    if "scale" not in arguments.without:
        path = WORK / "responses.json"
        path.write_text(json.dumps(responses), encoding="utf-8")
        measured = child(sys.executable, FILES / "ours.py", "scale", path)
        name = f"metrics of tokens, {measured['texts']:,} texts, {measured['tokens']:,} tokens"
        alone[name] = measured | {"bar": "3.5 GiB above before"}
    command, when = " ".join(["python", *sys.argv]), time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    write_atomically(
        FILES / "results.json",
        json.dumps({"command": command, "when": when, "machine": load, "peers": rows, "alone": alone}, indent=1) + "\n",
    )
    page = report(rows, alone, f"`{command}`, {when}, {load}.")
    write_atomically(FILES / "results.md", page)
    print(page)


if __name__ == "__main__":
    main()
