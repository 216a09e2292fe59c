"""``python -m sftdiv.judge``: files of annotations as AlpacaEval publishes them, and a judged study with its report."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from synthetic_study import write_synthetic_study
from synthetic_verdicts import synthetic_verdicts, write_verdicts

from sftdiv.evaluation.judge.score_files import score_files
from sftdiv.judge import main
from sftdiv.pipeline.analyze_study import analyze_study
from sftdiv.records import SftdivError
from sftdiv.storage.cell import RESULT
from sftdiv.storage.files import write_json

ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"


def entries(preferences, *, lengths=None, **more):
    """Annotations with the keys of AlpacaEval's files; ``lengths`` are pairs of characters of ``output_1``
    and ``output_2``."""
    lengths = lengths or [(4, 4)] * len(preferences)
    return [
        {
            "instruction": f"i{n}",
            "output_1": "a" * one,
            "generator_1": "base",
            "output_2": "b" * two,
            "preference": value,
            **more,
        }
        for n, (value, (one, two)) in enumerate(zip(preferences, lengths, strict=True))
    ]


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="annotations.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write_file


def scored(path, scale=None, prior="auto"):
    return score_files([path], scale=scale, prior=prior, draws=20, seed=0)[0]


def test_win_rate_is_that_of_alpaca_eval(write):
    """0 is its code for a draw; a null was not read. By hand: (1 + 0 + 0.25 + 0.5 + 0.5) / 5."""
    found = scored(write(entries([2, 1.0, 1.25, 0, 1.5, None], annotator=ANNOTATOR, generator_2="m")))
    assert found["win_rate"] == pytest.approx(45)
    assert found["length_controlled_win_rate"] == pytest.approx(45)  # all answers are equally long
    assert found["standard_error"] == pytest.approx(100 * np.std([1, 0, 0.25, 0.5, 0.5], ddof=1) / math.sqrt(5))
    assert [found[name] for name in ("n", "unreadable", "wins", "losses", "draws")] == [5, 1, 1, 2, 2]
    assert [found[name] for name in ("candidate", "baseline", "judge")] == ["m", "base", ANNOTATOR]


def test_command_prints_one_object_and_the_same_for_all_forms_of_a_file(write):
    rows = entries([1.9, 1.2, 1.7, 1.1], lengths=[(50, 90), (80, 40), (30, 60), (70, 20)])
    files = {"12": write(rows), "01": write([row | {"preference": row["preference"] - 1} for row in rows], "zero.json")}
    command = [sys.executable, "-m", "sftdiv.judge", "score", str(files["12"]), "--json"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(printed)
    assert found["win_rate"] == pytest.approx(47.5)
    lines = write("\n".join(json.dumps(row) for row in rows) + "\n", "annotations.jsonl")
    same = [scored(files["12"], prior="any"), scored(files["01"], scale="01", prior="any"), scored(lines, prior="any")]
    assert len({round(each["length_controlled_win_rate"], 9) for each in same}) == 1
    assert {each["win_rate"] for each in same} == {found["win_rate"]}


def test_table_names_the_players(write, capsys):
    main(["score", str(write(entries([2, 1, 2], generator_2="mine"))), "--draws", "10"])
    shown = capsys.readouterr().out
    assert "mine against base" in shown and "66.67" in shown and "3 prompts: 2 wins, 1 losses" in shown


def test_one_file_has_no_length_control_unless_its_judge_is_alpaca_evals_or_it_is_asked_for(write, capsys):
    rng = np.random.default_rng(0)
    lengths = [(int(one), int(two)) for one, two in rng.integers(100, 2000, (300, 2))]
    mild = [1 + 1 / (1 + math.exp(-(two - one) / 900)) for one, two in lengths]
    for annotator in ({}, {"annotator": "mine"}):
        path = write(entries(mild, lengths=lengths, **annotator))
        found = scored(path)
        assert math.isnan(found["length_controlled_win_rate"]) and found["length_fit"] is None
        assert found["win_rate"] == pytest.approx(100 * np.mean(np.array(mild) - 1))
        main(["score", str(path), "--json", "--draws", "10"])
        printed = json.loads(capsys.readouterr().out)
        assert printed["length_controlled_win_rate"] is None and "one file cannot tell" in printed["length_note"]
        main(["score", str(path), "--draws", "10"])
        shown = capsys.readouterr().out
        assert "length-controlled win rate \N{BOX DRAWINGS LIGHT VERTICAL}" not in shown and "--prior any" in shown
        assert scored(path, prior="any")["length_prior"] == "any"
    named = scored(write(entries(mild, lengths=lengths, annotator=ANNOTATOR)))
    assert (named["length_prior"], named["length_fit"], named["length_note"]) == ("alpaca_eval", "file", "")


def test_the_prior_of_alpaca_evals_judge_does_not_fix_the_coefficient(write):
    """A judge of length alone: the verdicts, and not the prior of 1.1, decide the coefficient."""
    rng = np.random.default_rng(0)
    lengths = [(int(one), int(two)) for one, two in rng.integers(100, 2000, (800, 2))]
    longer = [1.0 + (two > one) for one, two in lengths]
    found = scored(write(entries(longer, lengths=lengths, annotator=ANNOTATOR)))
    assert found["length_coefficient"] > 2.5
    careless = [1.0 + won for won in rng.integers(0, 2, 800)]
    assert abs(scored(write(entries(careless, lengths=lengths, annotator=ANNOTATOR)))["length_coefficient"]) < 0.3


@pytest.fixture
def models(write):
    """Files of three models on the same 400 prompts: equally good, but terse, as long as the baseline, and verbose."""
    rng = np.random.default_rng(3)
    written = rng.lognormal(6.5, 0.5, 400)
    hard = -1.2 * (np.log(written) - 6.5) / 0.5 + rng.normal(size=400)
    paths = {}
    for name, factor in (("terse", 0.4), ("equal", 1.0), ("verbose", 2.0)):
        chars = written * factor * rng.lognormal(0, 0.5, 400)
        delta = chars - written
        won = rng.random(400) < 1 / (1 + np.exp(0.4 - hard - 1.6 * np.tanh(delta / delta.std())))
        lengths = [(int(one), int(two)) for one, two in zip(written, chars, strict=True)]
        rows = entries((1.0 + won).tolist(), lengths=lengths, annotator="mine", generator_2=name)
        paths[name] = write(rng.permutation(rows).tolist(), f"{name}.json")
    return paths


def test_several_files_are_fitted_together(models, capsys):
    """By construction the three are equally good at equal lengths; a fit per file puts the terse one first."""
    main(["score", *map(str, models.values()), "--json", "--draws", "20"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["candidate"] for row in found] == list(models)
    assert {row["length_fit"] for row in found} == {"joint"}
    raw, controlled = ([row[name] for row in found] for name in ("win_rate", "length_controlled_win_rate"))
    assert max(raw) - min(raw) > 20 and max(controlled) - min(controlled) < 8
    alone = [scored(path, prior="any") for path in models.values()]
    assert [row["win_rate"] for row in alone] == raw  # unchanged
    assert alone[0]["length_controlled_win_rate"] - alone[1]["length_controlled_win_rate"] > 8
    assert len({row["length_coefficient"] for row in found}) == 1
    for row in found:
        low, high = row["length_controlled_win_rate_interval"]
        assert low < row["length_controlled_win_rate"] < high
    main(["score", *map(str, models.values()), "--draws", "20"])
    assert " ".join(capsys.readouterr().out.split()).count("one fit over all files, prior: any") == 3


def test_files_that_do_not_compare_are_not_fitted_together(models, write):
    other = write(entries([1, 2], annotator="mine", generator_2="x"), "other.json")
    rows = json.loads(models["terse"].read_text(encoding="utf-8"))
    judged = write([row | {"annotator": "yours"} for row in rows], "judged.json")
    with pytest.raises(SftdivError, match=r"different values of judge .* 'mine' in .*terse\.json; 'yours' in .*judged"):
        score_files([models["terse"], judged], scale=None, prior="auto", draws=2, seed=0)
    unshared = [row | {"instruction": "new " + row["instruction"]} for row in rows]
    with pytest.raises(SftdivError, match=r"no instruction in common with the other files"):
        score_files([other, write(unshared, "new.json")], scale=None, prior="auto", draws=2, seed=0)


def test_difficulty_is_used_where_a_file_has_it(write):
    rng = np.random.default_rng(1)
    lengths = [(int(one), int(two)) for one, two in rng.integers(100, 2000, (60, 2))]
    rows = entries(list(1 + rng.random(60)), lengths=lengths)
    hard = [row | {"instruction_difficulty": row["preference"]} for row in rows]
    known, unknown = scored(write(hard), prior="any"), scored(write(rows), prior="any")
    assert known["difficulty"] and not unknown["difficulty"]
    assert known["length_controlled_win_rate"] != pytest.approx(unknown["length_controlled_win_rate"], abs=1e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds no annotations"),
        ("{oops", "line 1, column 2"),
        ('[{"a": 1},\n {"b" 2}]', "line 2, column 7"),
        (
            [*entries([2]), {"preference": 1, "output_1": ""}],
            "entry 1 lacks output_2, instruction; it has output_1, preference",
        ),
        (
            entries([0.25, 0.5]),
            r"entry 0 has preference=0.25, outside the scale from 1 to 2; every preference .* fits --scale 01",
        ),
        (
            entries([2, 1, 2.5]),
            r"entry 2 has preference=2.5, .* it does not fit --scale 01 \(0 to 1\) as a whole either",
        ),
        (entries([0, 1, 1]), "is 0 or 1: say --scale 01 if .* or --scale 12"),
        (entries([2, "b"]), "entry 1 has preference='b', which is no number"),
        (entries([2, True]), "preference=True"),
        (entries([None]), "no preference in .* could be read"),
        (entries([2], generator_2="m") + entries([1], generator_2="n"), r"holds 2 values of generator_2 \(m, n\)"),
        (entries([2], output_1=3), "has a int as output_1"),
    ],
)
def test_files_that_cannot_be_scored_say_where_and_why(write, content, message):
    with pytest.raises(SftdivError, match=message):
        scored(write(content))


def test_the_other_scale_is_named_both_ways(write):
    with pytest.raises(
        SftdivError, match=r"entry 0 has preference=1.5, outside the scale from 0 to 1; .* fits --scale 12"
    ):
        scored(write(entries([1.5, 2])), scale="01")
    assert scored(write(entries([0, 1, 1])), scale="01")["win_rate"] == pytest.approx(200 / 3)
    assert scored(write(entries([0, 1, 1])), scale="12")["win_rate"] == pytest.approx(50 / 3)
    assert scored(write(entries([1, 1])))["win_rate"] == 0  # AlpacaEval's scale holds: all lost


def test_a_file_that_is_not_there_ends_in_a_message(tmp_path):
    with pytest.raises(SystemExit, match=r"sftdiv: .*absent\.json cannot be read"):
        main(["score", str(tmp_path / "absent.json")])


@pytest.mark.parametrize("setting", [["--seed", "-5"], ["--draws", "many"]])
def test_settings_of_the_bootstrap_are_whole_numbers(write, capsys, setting):
    with pytest.raises(SystemExit):
        main(["score", str(write(entries([2, 1]))), *setting])
    assert f"'{setting[1]}' must be a whole number of at least 0" in capsys.readouterr().err


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A made-up study scored by a judge, whose repeated runs differ by 0.02."""
    folder = write_synthetic_study(
        tmp_path_factory.mktemp("studies") / "judged",
        slopes={("micro_token", "response"): 0.08},
        levels=(0.0, 0.5, 1.0),
        seeds=(0, 1),
        matches=("none",),
        baselines=False,
        failures=0,
        changed={"primary": "judge.win_rate"},
    )
    for path in folder.glob(f"*/{RESULT}"):
        row = json.loads(path.read_text(encoding="utf-8"))
        share = round(100 * (0.3 + 0.4 * row["level"])) / 100
        won = (np.arange(100) < 100 * share) * 1.0
        write_verdicts(path.parent, synthetic_verdicts(won, won))
        write_json(path, row | {"score.judge.win_rate": share + 0.001 * row["seed"], "score.judge.noise": 0.02})
    return folder


def test_arena_command_writes_a_table(study, capsys):
    main(["arena", str(study), "--draws", "20", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["judge"], found["baseline"], found["prompts"], len(found["standings"])) == ("judge-1", "base", 100, 6)
    rows = (study / "arena.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("cell,level,win_rate,") and len(rows) == 7
    assert ",1.0,0.7," in rows[1] and ",0.0,0.3," in rows[-1]
    best = found["standings"][0]
    low, high = (best[f"length_controlled_win_rate_{end}"] for end in ("low", "high"))
    assert low < best["length_controlled_win_rate"] < high
    main(["arena", str(study), "--draws", "20"])
    assert "judge-1 (plain) on 100 prompts; base has 1000" in capsys.readouterr().out


def test_report_puts_the_noise_floor_beside_the_slopes(study):
    analyze_study(study, draw=False)
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "Two identical runs of the judge differ by 2 points of win rate (1 standard deviation) in a cell" in page
    assert "the slope over the whole range is +40.00" in page
    assert 'id="arena"' in page and 'href="arena.csv"' in page


def test_report_without_a_judge_says_nothing_of_it(tmp_path):
    folder = write_synthetic_study(
        tmp_path / "plain",
        slopes={("micro_token", "response"): 0.08},
        levels=(0.0, 1.0),
        seeds=(0, 1),
        matches=("none",),
        baselines=False,
    )
    analyze_study(folder, draw=False)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'id="arena"' not in page and "noise floor</h3>" not in page and not (folder / "arena.csv").exists()
