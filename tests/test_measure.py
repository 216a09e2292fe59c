"""``python -m sftdiv.measure`` end to end on small datasets: which files come out, what is in them, what a
rerun does."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra import compose, initialize_config_dir
from warm_process import run_program

import sftdiv.pipeline.measure_dataset
from sftdiv.config.app import conf_dir, register_resolvers
from sftdiv.config.measurement import baseline_config
from sftdiv.diversity.registry import METRICS
from sftdiv.embeddings.lsa import LsaEmbedder
from sftdiv.measure import measure
from sftdiv.pipeline.compare_datasets import FittedTogether
from sftdiv.records import SIDES, Corpus, SftdivError
from sftdiv.reporting.dataset.dataset_figures import draw_token_bands
from sftdiv.reporting.dataset.report_files import finished

QUICK = ["matched.draws=3", "units.meso_tag.sides=[]"]
HEAVY = {
    "torch",
    "transformers",
    "pytorch_lightning",
    "lm_eval",
    "wandb",
    "sklearn",
    "datasets",
    "numba",
    "scipy",
    "matplotlib",
}
ANIMALS = ["cat", "dog", "cow", "hen", "owl", "fox", "ant", "bee", "elk", "yak"]


def examples(count, *, words=40, seed=0):
    """Instructions of a template and an animal; responses of ten random words out of ``words``."""
    rng = np.random.default_rng(seed)
    vocabulary = [f"{animal}{number}" for animal in ANIMALS for number in range(max(words // 10, 1))][:words]
    return [
        {
            "instruction": f"Tell me about the {ANIMALS[row % 10]} number {row}.",
            "output": " ".join(rng.choice(vocabulary, 10)) + ".",
        }
        for row in range(count)
    ]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def measured(tmp_path):
    """A function that measures a dataset with a cache and outputs of its own."""
    register_resolvers()

    def run(path, *overrides, quick=QUICK):
        places = [f"paths.outputs={tmp_path}/outputs", f"paths.cache={tmp_path}/cache"]
        quoted = str(path).replace("'", "\\'")
        given = ["corpus=files", f"corpus.path='{quoted}'", *quick, *places, *overrides]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return measure(compose("measure", overrides=given), given)

    return run


@pytest.fixture
def without_figures(monkeypatch):
    """Empty figures, which otherwise take most of the time of a small measurement: for tests of numbers."""
    empty = b'<svg viewBox="0 0 1 1"></svg>'
    monkeypatch.setattr("sftdiv.reporting.dataset.dataset_figures.render", lambda figure, kind: empty)


def only_folder(tmp_path):
    (folder,) = (tmp_path / "outputs" / "measure").iterdir()
    return folder


def test_a_measurement_leaves_exactly_these_files(tmp_path, measured, capsys):
    found = measured(write_jsonl(tmp_path / "mine.jsonl", examples(60)))
    folder = only_folder(tmp_path)
    assert re.fullmatch(r"mine-h[0-9a-f]{6}", folder.name)
    assert sorted(path.name for path in folder.iterdir()) == ["measure.html", "measure.json", "token_bands.png"]
    written = json.loads((folder / "measure.json").read_text())
    assert written.pop("digest").startswith("blake2b:") and written == found == finished(folder)
    assert (folder / "token_bands.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr()
    assert str(folder / "measure.html") in shown.out and "Self-BLEU" in shown.out
    assert "response: tokens" in shown.err


def test_numbers_by_hand(tmp_path, measured, without_figures):
    rows = [
        {"instruction": "Name a colour.", "output": "Red is a colour.", "source": "a"},
        {"instruction": "Name a colour.", "output": "Blue is a colour.", "source": "a"},
        {"instruction": "Name a colour.", "output": "Blue is a colour.", "source": "a"},
        {"instruction": "Name a fruit.", "output": "An apple.", "source": "b"},
        {"instruction": "", "output": "No question.", "source": "b"},
    ]
    (dataset,) = measured(write_jsonl(tmp_path / "mine.jsonl", rows), "matched.size=3", "repeated.shortest=3")[
        "datasets"
    ]
    counts = dataset["counts"]
    assert (counts["read"], counts["rejected"], counts["duplicates"], counts["examples"]) == (5, 1, 1, 3)
    assert dataset["sources"] == {"a": 2, "b": 1}
    instruction, response, both = (dataset["sides"][side] for side in ("instruction", "response", "both"))
    assert (instruction["tokens"], response["tokens"], both["tokens"]) == (12, 13, 25)  # Name a colour . is four
    assert (instruction["distinct"], response["distinct"]) == (2, 3)
    assert (instruction["sharing"], response["sharing"]) == (2, 0)
    assert instruction["metrics"]["ngram_ratio_1"] == pytest.approx(5 / 12)  # Name, a, colour, fruit, .
    assert response["metrics"]["length"] == pytest.approx(13 / 3)
    assert response["drawn"]["length"] == [pytest.approx(13 / 3)]  # all three examples: one draw
    assert response["length"]["percentiles"]["100"] == 5.0
    run = response["repeated"]["runs"][0]
    assert (run["tokens"], run["texts"], run["occurrences"]) == (["is", "a", "colour", "."], 2, 2)
    assert response["bands"]["occurrences"] == 13 and response["bands"]["rare"]["types"] == 8
    near = dataset["near_duplicates"]
    assert (near["instruction"]["share"], near["response"]["share"], near["pair"]["share"]) == (
        pytest.approx(1 / 3),
        0.0,
        0.0,
    )


def test_a_rerun_answers_from_the_finished_file_and_mends_the_page(tmp_path, measured, capsys):
    path = write_jsonl(tmp_path / "mine.jsonl", examples(30))
    first = measured(path)
    folder = only_folder(tmp_path)
    page, before = (folder / "measure.html").read_bytes(), (folder / "measure.json").stat().st_mtime_ns
    (folder / "measure.html").unlink()
    capsys.readouterr()
    assert measured(path) == first
    assert capsys.readouterr().err == ""
    assert (folder / "measure.json").stat().st_mtime_ns == before
    assert (folder / "measure.html").read_bytes() == page
    path.rename(tmp_path / "elsewhere.jsonl")
    measured(tmp_path / "elsewhere.jsonl")
    names = sorted(folder.name for folder in (tmp_path / "outputs" / "measure").iterdir())
    assert [name[-7:] for name in names] == [folder.name[-7:]] * 2  # the same content: the same hash
    measured(tmp_path / "elsewhere.jsonl", "matched.seed=1")
    assert len(list((tmp_path / "outputs" / "measure").iterdir())) == 3


def test_what_an_interrupted_measurement_has_done_is_kept(tmp_path, measured, without_figures, monkeypatch):
    path = write_jsonl(tmp_path / "mine.jsonl", examples(30))

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sftdiv.pipeline.measure_dataset, "near_duplicates", stop)
        with pytest.raises(KeyboardInterrupt):
            measured(path)
    assert not list((tmp_path / "outputs").rglob("measure.json"))
    monkeypatch.setattr(sftdiv.pipeline.measure_dataset, "describe", stop)  # the sides were measured before
    assert set(measured(path)["datasets"][0]["sides"]) == {"instruction", "response", "both"}


class Page(HTMLParser):
    """The elements, what they refer to, and the visible text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [
            value for name, value in attrs if name in {"src", "href", "xlink:href", "action", "data", "srcset"}
        ]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page_of_odd_names(tmp_path_factory):
    """The page of a dataset whose name, texts and sources are full of markup."""
    folder = tmp_path_factory.mktemp("page")
    rows = examples(30)
    for number, row in enumerate(rows):
        row["output"] += " <script>alert(1)</script> <img src=http://example.org/x.png> & more"
        row["source"] = "<b>bold</b>" if number % 2 else "$\\alpha$"
    write_jsonl(folder / "a<b>&'c.jsonl", rows)
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(
            "measure",
            overrides=["corpus=files", *QUICK, f"paths.outputs={folder}/outputs", f"paths.cache={folder}/cache"],
        )
        config.corpus.path = str(folder / "a<b>&'c.jsonl")
        measure(config, QUICK)
    return (only_folder(folder) / "measure.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_but_itself_and_shows_data_as_text(page_of_odd_names):
    html, page = page_of_odd_names, Page(page_of_odd_names)
    assert not {"script", "img", "iframe", "link", "b><"} & set(page.tags)
    assert {link for link in page.links if not link.startswith("#")} == {"measure.json", "token_bands.png"}
    assert not re.search(r"url\((?!#)|@import", html)
    assert "default-src 'none'" in html and "prefers-color-scheme: dark" in html
    text = " ".join(page.text)
    assert "a<b>&'c" in text and "<b>bold</b>" in text


def test_every_id_of_the_page_is_there_once_and_every_reference_leads_to_one(page_of_odd_names):
    ids = re.findall(r'\bid="([^"]+)"', page_of_odd_names)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page_of_odd_names)) <= set(ids)


def test_a_baseline_stands_beside_the_dataset(tmp_path, measured, capsys):
    rich = write_jsonl(tmp_path / "rich.jsonl", examples(200, words=400))
    poor = write_jsonl(tmp_path / "poor.jsonl", examples(120, words=10, seed=1))
    found = measured(rich, f"baseline={poor}", "matched.draws=8")
    assert only_folder(tmp_path).name.startswith("rich-vs-poor-h")
    assert found["size"] == 60  # half of the smaller one
    rows = {row["metric"]: row for row in found["comparison"]["sides"]["response"]}
    assert (
        rows["entropy"]["more_diverse"]
        == rows["self_bleu"]["more_diverse"]
        == rows["ngram_ratio"]["more_diverse"]
        == "dataset"
    )
    assert rows["self_bleu"]["value"] < rows["self_bleu"]["baseline"] and rows["self_bleu"]["high"] < 0
    assert rows["length"]["more_diverse"] is None
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "Responses: rich is more diverse by" in shown
    html = (only_folder(tmp_path) / "measure.html").read_text(encoding="utf-8")
    assert "Side by side" in html and html.count("poor") > 10


def test_repeated_responses_stand_in_the_headline_and_no_metric_calls_them_diverse(tmp_path, measured, capsys):
    """60 conversations: 4 responses ten times each, 20 of their own; 24 distinct ones, 40 examples that share one."""
    poem = "one small step {} for a long poem that says every word once more {} and never again until its end"
    rows = examples(60)
    for number, row in enumerate(rows[:40]):
        row["output"] = poem.format(number % 4, number % 4)
    repeating = write_jsonl(tmp_path / "repeating.jsonl", rows)
    plain = write_jsonl(tmp_path / "plain.jsonl", examples(60, seed=2, words=20))
    found = measured(repeating, f"baseline={plain}", "matched.size=30", "matched.draws=8")
    numbers = found["datasets"][0]["sides"]["response"]
    assert (numbers["texts"], numbers["distinct"], numbers["sharing"]) == (60, 24, 40)
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "66.7 % of the examples have the response of another one word for word: "
        "24 of 60 responses are distinct (40.0 %)." in out
    )
    assert "With 60 examples most metrics are unreliable." in out  # as on the page
    assert "No tags" not in out
    mtld = {row["metric"]: row for row in found["comparison"]["sides"]["response"]}["mtld"]
    assert mtld["more_diverse"] is None and not METRICS["entropy"].within_texts
    html = (only_folder(tmp_path) / "measure.html").read_text(encoding="utf-8")
    assert "distinct responses" in html and "by the response alone" in html and "most metrics are unreliable" in html


def test_metrics_without_a_value_are_named_and_equal_draws_have_no_rounding(
    tmp_path, measured, without_figures, capsys
):
    rows = [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(3)]
    measured(write_jsonl(tmp_path / "mine.jsonl", rows), quick=["matched.draws=3"])
    out = " ".join(capsys.readouterr().out.split())
    assert "samples of 1 example " in out and "Samples too small for: " in out and "Self-BLEU" in out
    assert "\u2014 \u2014 0.938 \u00b1 0.0" in out and "e\u2212" not in out  # one dash for each side without a value


def test_units_that_cannot_be_extracted_are_named_in_the_terminal(tmp_path, measured, without_figures, capsys):
    measured(write_jsonl(tmp_path / "mine.jsonl", examples(12)))
    out = " ".join(capsys.readouterr().out.split())
    assert "No mid-frequency tokens of the response in mine: " in out


def test_no_curve_of_the_figure_is_cut():
    def dataset(name, most, high):
        bands = {"low": 1, "high": high, "curve": [[1, most], [10, 1]]} | {
            band: {"types": 1, "share": 0.5, "examples": []} for band in ("frequent", "mid", "rare")
        }
        return {"name": name, "sides": {side: {"bands": bands} for side in ("instruction", "response")}}

    for one, other in ((100, 90_000), (90_000, 100)):
        figure = draw_token_bands([dataset("mine", one, 20), dataset("baseline", other, 20)])
        assert all(axis.get_ylim()[1] > 90_000 for axis in figure.axes)


def test_a_dataset_is_not_more_diverse_than_itself(tmp_path, measured, without_figures):
    path = write_jsonl(tmp_path / "mine.jsonl", examples(80))
    found = measured(path, f"baseline={path}")
    verdicts = {row["more_diverse"] for rows in found["comparison"]["sides"].values() for row in rows}
    assert verdicts == {"unclear", None}
    assert {row["difference"] for rows in found["comparison"]["sides"].values() for row in rows} == {0.0, None}
    assert [dataset["name"] for dataset in found["datasets"]] == ["mine", "mine (baseline)"]
    assert all(row["of_baseline"] == row["of_dataset"] == 1.0 for row in found["coverage"])


def test_a_baseline_is_measured_once_for_all(tmp_path, measured, without_figures, capsys):
    base = write_jsonl(tmp_path / "base.jsonl", examples(80))
    measured(base, "matched.size=20")
    capsys.readouterr()
    measured(write_jsonl(tmp_path / "mine.jsonl", examples(80, seed=2)), f"baseline={base}", "matched.size=20")
    told = capsys.readouterr().err
    assert "mine, response: tokens" in told and "base, response: tokens" not in told


def as_messages(row):
    return [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]


def write_all_formats(folder, rows):
    """The same examples in every form that people have them in: name -> path."""
    turns = [[{"from": "human", "value": row["instruction"]}, {"from": "gpt", "value": row["output"]}] for row in rows]
    paths = {
        "alpaca": write_jsonl(folder / "alpaca.jsonl", rows),
        "messages": write_jsonl(folder / "messages.jsonl", [{"messages": as_messages(row)} for row in rows]),
        "sharegpt": write_jsonl(folder / "sharegpt.jsonl", [{"conversations": each} for each in turns]),
        "prompt": write_jsonl(
            folder / "prompt.jsonl", [{"prompt": row["instruction"], "completion": row["output"]} for row in rows]
        ),
        "json": folder / "rows.json",
        "parquet": folder / "rows.parquet",
        "subset": folder / "subset.parquet",
        "csv": folder / "rows.csv",
        "folder": folder / "several",
    }
    paths["json"].write_text(json.dumps(rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), paths["parquet"])
    whole = [
        {"id": "", "messages": as_messages(row), "instruction": row["instruction"], "response": row["output"]}
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(whole), paths["subset"])  # as a run writes its subset
    with paths["csv"].open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["instruction", "output"])
        writer.writeheader()
        writer.writerows(rows)
    paths["folder"].mkdir()
    write_jsonl(paths["folder"] / "a.jsonl", rows[:7])
    write_jsonl(paths["folder"] / "b.jsonl", rows[7:])
    return paths


def test_one_dataset_in_any_format_has_one_set_of_numbers(tmp_path, measured, without_figures):
    found = {name: measured(path)["datasets"][0] for name, path in write_all_formats(tmp_path, examples(20)).items()}
    told = {
        name: json.dumps({key: value for key, value in one.items() if key != "name"}, sort_keys=True)
        for name, one in found.items()
    }
    assert set(told) == {"alpaca", "messages", "sharegpt", "prompt", "json", "parquet", "subset", "csv", "folder"}
    assert {name for name, text in told.items() if text != told["alpaca"]} == set()


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(examples(1), id="one example"),
        pytest.param(examples(1) * 50, id="identical rows"),
        pytest.param([{"instruction": "?", "output": "!"}, {"instruction": "?", "output": "\u200b"}], id="signs alone"),
        pytest.param(
            [{"instruction": "写一首诗。", "output": f"春眠不觉晓。处处闻啼鸟{n}。"} for n in range(12)], id="Chinese"
        ),
        pytest.param([{"instruction": "हिन्दी में लिखो", "output": f"नमस्ते दुनिया {n}"} for n in range(12)], id="Hindi"),
        pytest.param([*examples(5), {"instruction": "long", "output": "word " * 200_000}], id="a huge row"),
    ],
)
def test_odd_datasets_are_measured_too(tmp_path, measured, rows):
    found = measured(write_jsonl(tmp_path / "mine.jsonl", rows), quick=["matched.draws=3"])
    (dataset,) = found["datasets"]
    assert dataset["counts"]["examples"] == len({json.dumps(row) for row in rows})
    assert all(
        "contains" in units["problem"] or "phrase" in units["problem"] for units in dataset["units"]
    )  # no band, no phrase: a line
    html = (only_folder(tmp_path) / "measure.html").read_text(encoding="utf-8")
    assert "at least 100 are needed" in html and "nan" not in " ".join(Page(html).text).lower().split()


def test_units_are_counted_where_there_are_any(tmp_path, measured, without_figures):
    rows = [{"instruction": f"w{n} w{n + 1} w{n + 2}", "output": "yes"} for n in range(150)]
    band = ["corpus.band.low=2", "corpus.band.high=3", "units.micro_token.sides=[instruction]"]
    (dataset,) = measured(write_jsonl(tmp_path / "mine.jsonl", rows), *band)["datasets"]
    (units,) = dataset["units"]
    assert units["types"] == 150  # w1 and w150 stand in two texts, those between in three, w0 and w151 in one
    assert units["units"] == 2 * 2 + 148 * 3 and units["without"] == 0
    shares = np.array([2, 2] + [3] * 148) / 448
    assert units["entropy"] == pytest.approx(float(-(shares * np.log2(shares)).sum()))
    assert [each["examples"] for each in units["commonest"]] == [3] * 40


def test_tags_of_a_column_are_units(tmp_path, measured):
    rows = [{**row, "task": ["animals", "odd" if number % 2 else "even"]} for number, row in enumerate(examples(20))]
    asked = ["corpus.columns=[task]", "units.meso_tag.tagger=column", "+units.meso_tag.column=task", "matched.draws=3"]
    (dataset,) = measured(write_jsonl(tmp_path / "mine.jsonl", rows), *asked, quick=["units.micro_token=null"])[
        "datasets"
    ]
    (units,) = dataset["units"]
    assert (units["strategy"], units["types"], units["per_example"]) == ("meso_tag", 3, 2.0)
    assert units["commonest"] == [
        {"name": "animals", "examples": 20},
        {"name": "even", "examples": 10},
        {"name": "odd", "examples": 10},
    ]
    assert "Most frequent tags" in (only_folder(tmp_path) / "measure.html").read_text(encoding="utf-8")


def test_bad_rows_are_counted_or_are_errors(tmp_path, measured):
    path = write_jsonl(
        tmp_path / "mine.jsonl", [*examples(10), {"instruction": "nothing", "output": " "}, {"text": "?"}]
    )
    found = measured(path)
    assert found["datasets"][0]["counts"]["rejected"] == 2
    assert len((only_folder(tmp_path) / "rejected.jsonl").read_text().splitlines()) == 2
    with pytest.raises(SftdivError, match="line 11"):
        measured(path, "corpus.on_bad_row=error")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["corpus=files", "corpus.path=a.jsonl", "baseline=b.jsonl", "corpus.format=alpaca"],
            ("files", "b.jsonl", "alpaca"),
        ),
        (["corpus=files", "corpus.path=a.jsonl", "baseline=[b.jsonl,c.csv]"], ("files", ["b.jsonl", "c.csv"], "auto")),
        (["corpus=hub", "corpus.path=org/a", "baseline=org/b", "corpus.format=prompt"], ("hub", "org/b", "prompt")),
        (
            ["corpus=hub", "corpus.path=org/a", "baseline=here.jsonl", "corpus.format=prompt"],
            ("files", "here.jsonl", "prompt"),
        ),
        (["corpus=embedded", "baseline=here.jsonl"], ("files", "here.jsonl", "auto")),
    ],
)
def test_a_baseline_on_this_machine_is_read_as_files(tmp_path, monkeypatch, overrides, expected):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "here.jsonl", examples(1))
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        corpus = baseline_config(compose("measure", overrides=overrides), overrides).corpus
    assert (corpus.name, corpus.path, corpus.format) == expected
    assert corpus.on_bad_row == "skip" and corpus.reader.path == corpus.path


def command(*arguments, cwd=None):
    return run_program("sftdiv.measure", *arguments, cwd=cwd)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["corpus=files"], "corpus.path must be given"),
        (["metrics=[entropie]"], "'entropie' is unknown. Did you mean 'entropy'?"),
        (["units.meso_tag.sides=[respons]"], "Did you mean 'response'[?] Known: instruction, response"),
        (
            ["+units.meso_tag.tager=column"],
            "units.meso_tag.tager='column' changes no existing setting. Known: .*tagger",
        ),
        (["+units.meso_tags.sides=[response]"], "Did you mean 'meso_tag'"),
        (["seed=-1"], "seed=-1 must be a whole number"),
        (["pair_tokens=0"], "pair_tokens=0 must be a whole number of at least 1"),
        (["corpus=files", "corpus.path=/nowhere"], "corpus.path='/nowhere' matches no file"),
    ],
)
def test_mistakes_are_refused_with_the_alternatives(overrides, message):
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"), pytest.raises(SftdivError, match=message):
        measure(compose("measure", overrides=overrides), overrides)


def test_an_unknown_setting_names_its_neighbours():
    wrong = command("bseline=x")
    assert wrong.returncode == 1 and "Traceback" not in wrong.stderr
    assert (
        "unknown setting 'bseline'. Did you mean baseline=x? Known: baseline, compute, corpus, embedder" in wrong.stderr
    )


def test_the_command_by_its_own_and_its_rerun(tmp_path):
    write_jsonl(tmp_path / "mine.jsonl", examples(30))
    asked = ["corpus=files", "corpus.path=mine.jsonl", *QUICK, f"paths.cache={tmp_path}/cache"]
    done = command(*asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = done.stdout.rstrip().splitlines()[-1]
    assert page == str(only_folder(tmp_path) / "measure.html")
    again = command(*asked, cwd=tmp_path)
    assert (again.stdout, again.stderr) == (done.stdout, "")


@pytest.mark.parametrize("flags", [["--help"]])
def test_help_and_cfg_answer_without_heavy_libraries(flags):
    program = f"""
import sys
sys.argv = ["sftdiv.measure", *{flags!r}]
from sftdiv.measure import main
try:
    main()
finally:
    print(sorted(set(sys.modules) & {HEAVY!r}))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.rstrip().endswith("[]")
    assert "near_duplicates" in shown.stdout


def test_embeddings_bring_topics_and_their_metrics(tmp_path, measured):
    places = [f"paths.outputs={tmp_path}/outputs", f"paths.cache={tmp_path}/cache"]
    given = ["corpus.samples=2000", "embedder=lsa", "matched.draws=3", *places]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        (dataset,) = measure(compose("measure", overrides=given), given)["datasets"]
    distances = {
        side: dataset["sides"][side]["metrics"]["embedding_distance"] for side in ("instruction", "response", "both")
    }
    assert distances["both"] == pytest.approx((distances["instruction"] + distances["response"]) / 2, abs=1e-6)
    assert {"vendi", "novel_sum", "log_determinant"} <= set(dataset["sides"]["both"]["metrics"])
    (topics,) = (units for units in dataset["units"] if units["strategy"] == "macro_topic")
    assert topics["types"] >= 2
    assert "Largest topics" in (only_folder(tmp_path) / "measure.html").read_text(encoding="utf-8")


def test_an_embedder_that_learns_is_fitted_on_both_datasets(tmp_path):
    """What both datasets say has one vector, whichever of them is measured; fitted alone, each has vectors
    of its own."""
    shared = [f"{one} and {other} are animals" for one in ANIMALS[:5] for other in ANIMALS[:5]]
    own = [
        [f"{one} likes {other}" for one in ANIMALS for other in words]
        for words in (("jazz", "rock"), ("tea", "milk", "wine"))
    ]
    tables = [datasets.Dataset.from_dict({side: [*shared, *texts] for side in SIDES}) for texts in own]
    corpora = [Corpus(table, str(number), {}) for number, table in enumerate(tables)]
    embedder = LsaEmbedder(dimensions=5, min_documents=2, max_share=0.5, max_words=1000, iterations=4, seed=0)
    together = [FittedTogether(embedder, corpora, number) for number in range(2)]
    first, second = (
        each.embed(corpora[number].column("response"), tmp_path).vectors for number, each in enumerate(together)
    )
    assert np.array_equal(first[: len(shared)], second[: len(shared)])
    assert (len(first), len(second)) == (len(tables[0]), len(tables[1]))
    alone = [embedder.embed(corpus.column("response"), tmp_path).vectors for corpus in corpora]
    assert not np.allclose(alone[0][: len(shared)], alone[1][: len(shared)])
    assert together[0].identity() == together[1].identity() != embedder.identity()
