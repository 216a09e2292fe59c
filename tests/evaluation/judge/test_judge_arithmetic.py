"""The arithmetic of verdicts, by hand and by what must hold; the scores of a cell; the arena of a study."""

import math

import numpy as np
import pytest
from synthetic_study import synthetic_row, write_cell
from synthetic_verdicts import synthetic_verdicts, write_verdicts

from sftdiv.evaluation.judge.arena import read_arena
from sftdiv.evaluation.judge.arena_fit import arena_scores, interval_ends, resample_games
from sftdiv.evaluation.judge.bradley_terry import bradley_terry, star_scores
from sftdiv.evaluation.judge.joint_length_control import ALPACA_EVAL_GIVEN_DIFFICULTY, WIDE, fit_jointly
from sftdiv.evaluation.judge.length_control import (
    ALPACA_EVAL,
    ANY_JUDGE,
    fit_length,
    length_controlled_win_rate,
)
from sftdiv.evaluation.judge.noise_floor import noise_floor
from sftdiv.evaluation.judge.position_bias import order_agreement, position_bias, position_rate
from sftdiv.evaluation.judge.scores import scores_of
from sftdiv.evaluation.judge.win_rate import bootstrap, standard_error, win_rate
from sftdiv.records import SftdivError

NAN = math.nan


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_win_rate_by_hand():
    preferences = np.array([1.0, 0.0, 0.5, NAN, 1.0])
    assert win_rate(preferences) == 2.5 / 4
    assert standard_error(np.array([0.0, 1.0])) == pytest.approx(0.5)  # sd sqrt(1/2), over sqrt(2)
    assert math.isnan(win_rate(np.array([NAN])))
    with pytest.raises(SftdivError, match=r"preference 1\.5 at place 1"):
        win_rate(np.array([1.0, 1.5]))


def test_bootstrap_of_a_mean_has_its_standard_error(rng):
    values = rng.random(400)
    found = bootstrap(win_rate, values, draws=2000, rng=rng)
    assert found.stderr == pytest.approx(standard_error(values), rel=0.06)
    assert found.low < win_rate(values) < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard_error(values), rel=0.08)
    for one in (values[:1], np.array([0.3, *[NAN] * 9])):
        assert math.isnan(bootstrap(win_rate, one, draws=100, rng=rng).low)  # one prompt says nothing of others


def test_length_control_is_the_fit_that_its_docstring_says(rng):
    delta = rng.normal(150, 400, 300)
    preferences = rng.random(300)
    difficulty = rng.normal(3, 2, 300)
    fit = fit_length(preferences, delta, difficulty, prior=ANY_JUDGE)
    term = np.tanh(delta / delta.std(ddof=1))
    hardness = (difficulty - difficulty.mean()) / difficulty.std()
    missed = preferences - 1 / (1 + np.exp(-(fit.model + fit.length * term + fit.difficulty * hardness)))
    assert missed.sum() == pytest.approx(0, abs=1e-9)  # the slopes of the log posterior are 0 in all three directions
    assert (missed * term).sum() == pytest.approx((fit.length - ANY_JUDGE.mean) / ANY_JUDGE.sd**2, abs=1e-9)
    assert (missed * hardness).sum() == pytest.approx(fit.difficulty, abs=1e-9)
    assert fit.controlled == pytest.approx(
        np.mean(1 / (1 + np.exp(-(fit.model + fit.difficulty * hardness)))), abs=1e-12
    )


@pytest.mark.parametrize("prior", [ANY_JUDGE, ALPACA_EVAL])
def test_swapping_candidate_and_baseline_gives_one_less_it(rng, prior):
    preferences, delta, difficulty = rng.random(120), rng.normal(300, 200, 120), rng.normal(size=120)
    preferences[:5] = NAN
    for extra in ((), (difficulty,)):
        one = length_controlled_win_rate(preferences, delta, *extra, prior=prior)
        assert length_controlled_win_rate(1 - preferences, -delta, *extra, prior=prior) == pytest.approx(
            1 - one, abs=1e-12
        )


def test_equal_lengths_leave_the_win_rate_as_it_is(rng):
    preferences = rng.random(50) ** 2
    assert length_controlled_win_rate(preferences, np.zeros(50)) == pytest.approx(win_rate(preferences), abs=1e-12)
    assert length_controlled_win_rate(preferences, np.zeros(50), rng.normal(size=50)) == pytest.approx(
        win_rate(preferences), abs=1e-9
    )


def test_a_judge_of_length_alone_is_seen_through(rng):
    delta = rng.normal(300, 300, 805)
    for preferences in ((delta > 0) * 1.0, np.where(delta > 0, 0.95, 0.05), 1 / (1 + np.exp(-delta / 100))):
        assert win_rate(preferences) > 0.75
        assert length_controlled_win_rate(preferences, delta) == pytest.approx(0.5, abs=0.08)


def test_a_judge_that_ignores_length_keeps_the_win_rate(rng):
    delta = rng.normal(0, 300, 805)
    preferences = (rng.random(805) < 0.7) * 1.0
    assert length_controlled_win_rate(preferences, delta) == pytest.approx(win_rate(preferences), abs=0.01)


def test_a_terse_candidate_is_held_by_the_prior(rng):
    """Shorter on every prompt by about as much: its own data cannot tell terse from bad, the prior of
    AlpacaEval's judge can, roughly."""
    delta = rng.normal(-900, 250, 805)
    term = np.tanh(delta / delta.std(ddof=1))
    preferences = (rng.random(805) < 1 / (1 + np.exp(0.4 - 1.1 * term))) * 1.0
    assert win_rate(preferences) < 0.25
    assert length_controlled_win_rate(preferences, delta, prior=ALPACA_EVAL) == pytest.approx(
        1 / (1 + math.exp(0.4)), abs=0.08
    )


@pytest.mark.parametrize("delta", [np.full(4, 7.0), np.array([0.0, 0, 0, 1e9]), np.array([-5.0, 5, -5, 5])])
@pytest.mark.parametrize(
    "preferences", [np.ones(4), np.zeros(4), np.array([1.0, 0, 1, 0]), np.array([NAN, NAN, 1, 0.2])]
)
def test_degenerate_data_give_a_number_in_range(delta, preferences):
    found = length_controlled_win_rate(preferences, delta)
    assert 0 <= found <= 1
    if np.nanmean(preferences) in (0, 1):
        assert found == np.nanmean(preferences)
    assert length_controlled_win_rate(1 - preferences, -delta) == pytest.approx(1 - found, abs=1e-12)


@pytest.mark.parametrize("prior", [ANY_JUDGE, ALPACA_EVAL])
@pytest.mark.parametrize("doubt", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("doubtful", [1, 50])
def test_a_judge_nearly_sure_of_all_is_no_trouble(rng, prior, doubt, doubtful):
    """Log-probabilities say so of a strong candidate, or of a weak one: all is won but for a doubt in the
    last digits."""
    delta, preferences = rng.normal(0, 500, 50), np.zeros(50)
    preferences[:doubtful] = doubt
    lost = length_controlled_win_rate(preferences, delta, prior=prior)
    assert 0.5 * doubt * doubtful / 50 < lost < 2 * doubt * doubtful / 50
    assert 1 - length_controlled_win_rate(1 - preferences, -delta, prior=prior) == pytest.approx(lost, rel=1e-3)


def test_length_control_of_nothing_or_of_wrong_shapes():
    assert math.isnan(length_controlled_win_rate(np.array([NAN]), np.array([3.0])))
    assert 0 < length_controlled_win_rate(np.array([0.8]), np.array([3.0])) < 1
    with pytest.raises(SftdivError, match=r"length_delta has shape \(2,\); there are 1"):
        length_controlled_win_rate(np.array([0.8]), np.array([3.0, 4.0]))
    with pytest.raises(SftdivError, match="difficulty holds nan"):
        length_controlled_win_rate(np.array([0.8]), np.array([3.0]), np.array([NAN]))


def test_position_by_hand():
    first = np.array([1.0, 1.0, 0.0, 1.0, NAN])
    assert position_bias(first) == 0.5  # (1 + 1 - 1 + 1) / 4
    candidate_first, baseline_first = np.array([1.0, 0.9, 0.5, 0.0, 1.0]), np.array([1.0, 0.2, 0.5, 0.5, NAN])
    assert position_rate(candidate_first, baseline_first) == 1 / 4  # the second prompt
    assert order_agreement(candidate_first, baseline_first) == 2 / 4  # the first and the drawn one


def test_noise_floor_by_hand():
    once, again = np.array([1.0, 0, 1, 0, NAN]), np.array([1.0, 1, 0.5, 0, 1])
    found = noise_floor(once, again)
    assert (found.observed, found.prompts, found.flipped) == (0.5 / 4, 4, 2 / 4)
    assert found.stderr == pytest.approx(math.sqrt((1 + 0.25) / 4 / 4))
    assert noise_floor(once, again, prompts=100).stderr == pytest.approx(math.sqrt((1 + 0.25) / 4 / 100))


def test_noise_floor_tells_how_far_two_runs_differ(rng):
    """200 pairs of runs of a judge that throws a biased coin for each of 300 prompts."""
    chance = rng.random(300)
    runs = rng.random((2, 200, 300)) < chance
    differences = runs[1].mean(axis=1) - runs[0].mean(axis=1)
    assert noise_floor(runs[0, 0] * 1.0, runs[1, 0] * 1.0).stderr == pytest.approx(differences.std(), rel=0.2)


def test_bradley_terry_of_a_star_is_the_logit_of_the_win_rate():
    wins = np.array([[0, 0.5, 5.0, 0], [9.5, 0, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 0]])
    scores = bradley_terry(wins)
    assert scores[:3] == pytest.approx([1000, 1400, 1000], abs=1e-6)  # with the drawn game 10 to 1: 400 log10(10)
    assert math.isnan(scores[3])  # played nobody
    assert bradley_terry(np.array([[0, 0.0], [10.0, 0]]))[1] == pytest.approx(
        1000 + 400 * math.log10(10.5 / 0.5)
    )  # finite


def test_bradley_terry_finds_the_strengths_behind_all_pairs():
    truth = np.array([1000.0, 1120, 870, 1015])
    wins = 1e6 / (1 + 10 ** ((truth - truth[:, None]) / 400))
    assert bradley_terry(wins) == pytest.approx(truth, abs=0.01)


def test_always_the_first_answer():
    ones, zeros = np.ones(20), np.zeros(20)
    scores = scores_of(synthetic_verdicts(ones, zeros, delta=np.arange(20)), seed=0, draws=50)
    assert scores["win_rate"].value == 0.5
    assert scores["position_bias"].value == 1
    assert (scores["position_rate"].value, scores["order_agreement"].value) == (1, 0)
    assert not [name for name in scores if name.startswith("length_controlled")]  # one cell does not identify it


def test_who_is_better_is_no_bias_of_the_judge_nor_in_its_error():
    """Always right about two in three; two prompts were read in one order alone, the candidate first and winning."""
    right = np.array([1.0, 1, 0] * 10 + [1, 1])
    scores = scores_of(synthetic_verdicts(right, np.array([*right[:30], NAN, NAN])), seed=0, draws=2)
    assert (scores["position_bias"].value, scores["position_bias"].stderr) == (0, 0)
    towards_first = scores_of(synthetic_verdicts(np.array([1.0, 1, 1, 0]), np.array([0.0, 1, 1, 0])), seed=0, draws=2)[
        "position_bias"
    ]
    assert towards_first.value == 1 / 4  # prompt by prompt 1, 0, 0, 0
    assert towards_first.stderr == pytest.approx(np.std([1, 0, 0, 0], ddof=1) / 2)


def test_scores_of_a_cell_by_hand():
    """One verdict unreadable, one prompt unreadable, a repeat of the first two prompts."""
    again = np.full((2, 5), NAN)
    again[:, 0], again[:, 1] = 1, 1
    verdicts = synthetic_verdicts(np.array([1.0, 0, 1, NAN, 0.5]), np.array([1.0, 0, NAN, NAN, 0.5]), again=again)
    verdicts["state"][[4, 9]] = "identical"  # the last prompt, in both orders
    scores = scores_of(verdicts, seed=0, draws=200)
    assert scores["win_rate"].value == (1 + 0 + 1 + 0.5) / 4
    assert scores["unreadable"].value == 3 / 8  # of those asked
    assert (scores["draws"].value, scores["prompts"].value, scores["answer_chars"].value) == (1 / 4, 4, 1000)
    assert scores["order_agreement"].value == 1  # the first two prompts
    assert scores["noise"].value == pytest.approx(
        math.sqrt(1 / 2 / 4)
    )  # one of two prompts moved by 1; four are scored
    assert scores["noise_observed"].value == 0.5
    assert scores["win_rate_low"].value <= scores["win_rate"].value <= scores["win_rate_high"].value
    assert scores_of(verdicts, seed=0, draws=200)["win_rate"].stderr == scores["win_rate"].stderr  # seeded


def test_swapped_verdicts_give_one_less_the_win_rate(rng):
    first, second, delta = rng.random(60), rng.random(60), rng.integers(-300, 300, 60)
    one = scores_of(synthetic_verdicts(first, second, delta=delta), seed=0, draws=2)
    swapped = synthetic_verdicts(1 - second, 1 - first)
    swapped["candidate_chars"], swapped["baseline_chars"] = swapped["baseline_chars"], np.tile(1000 + delta, 2)
    other = scores_of(swapped, seed=0, draws=2)
    assert other["win_rate"].value == pytest.approx(1 - one["win_rate"].value, abs=1e-12)
    assert other["position_bias"].value == pytest.approx(one["position_bias"].value)


def judged_study(folder, rng, **changed):
    """Three cells whose win rates are 0.3, 0.5 and 0.7; ``changed`` goes to the verdicts of the last."""
    for number, share in enumerate((0.3, 0.5, 0.7)):
        won = (np.arange(40) < 40 * share) * 1.0
        cell = write_cell(folder, synthetic_row(folder.name, "micro_token", "response", number / 2, 0, 0.3))
        write_verdicts(cell, synthetic_verdicts(won, won, **(changed if number == 2 else {})))


def test_arena_of_a_study(tmp_path, rng):
    judged_study(tmp_path, rng)
    arena = read_arena(tmp_path, draws=200, seed=0)
    assert [standing.level for standing in arena.standings] == [1.0, 0.5, 0.0]
    assert [standing.win_rate for standing in arena.standings] == [0.7, 0.5, 0.3]
    assert arena.standings[0].score == pytest.approx(1000 + 400 * math.log10(28.5 / 12.5))
    assert arena.standings[1].score == pytest.approx(1000)
    assert all(one.score_low < one.score < one.score_high for one in arena.standings)


def judged_cells(rng, *, cells=8, prompts=805, length=1.5):
    """Terse cells, equally good; prompts on which the baseline writes much are hard. Also the right win rate."""
    written = rng.lognormal(7, 0.6, prompts)
    much = (np.log(written) - np.log(written).mean()) / np.log(written).std()
    hard = 1.5 * (-0.6 * much + 0.8 * rng.normal(size=prompts))
    delta = written * rng.lognormal(-1.2, 0.6, (cells, prompts)) - written
    term = np.tanh(delta / delta.std(axis=1, ddof=1, keepdims=True))
    preferences = (rng.random((cells, prompts)) < 1 / (1 + np.exp(2.0 - hard - length * term))).astype(float)
    return preferences, delta, (1 / (1 + np.exp(2.0 - hard))).mean()


def test_one_fit_over_all_cells_does_not_take_difficulty_for_length(rng):
    preferences, delta, truth = judged_cells(rng)
    alone = [length_controlled_win_rate(preferences[row], delta[row]) for row in range(8)]
    fit = fit_jointly(preferences, delta)
    assert fit.length == pytest.approx(1.5, abs=3 * fit.length_stderr) and fit.length_stderr < 0.2
    assert fit.prompt_spread == pytest.approx(1.5, abs=0.25)
    assert np.abs(fit.controlled - truth).mean() < 0.04 < 0.12 < np.abs(np.array(alone) - truth).mean()


def test_the_joint_fit_is_the_mode_that_its_docstring_says(rng):
    preferences, delta, _ = judged_cells(rng, cells=3, prompts=60)
    preferences[0, :9], preferences[1, 5:7] = NAN, 0.25
    fit = fit_jointly(preferences, delta)
    assert fit.controlled.shape == fit.stderr.shape == (3,)
    without = fit_jointly(preferences, np.zeros((3, 60)))  # equal lengths: the raw win rate, prompt effects or not
    known = ~np.isnan(preferences)
    raw = np.array([preferences[row, known[row]].mean() for row in range(3)])
    assert without.controlled[1:] == pytest.approx(raw[1:], abs=1e-6)
    swapped = fit_jointly(1 - preferences, -delta)
    assert swapped.controlled == pytest.approx(1 - fit.controlled, abs=1e-5)
    assert swapped.length == pytest.approx(fit.length, abs=1e-5)
    order = rng.permutation(60)
    assert fit_jointly(preferences[:, order], delta[:, order]).controlled == pytest.approx(fit.controlled, abs=1e-6)


def test_the_joint_standard_errors_are_the_spread_over_sets_of_prompts(rng):
    """30 studies of 4 cells and 200 prompts: standard errors against the real spread of the estimates."""
    fits, truths = [], []
    for _ in range(30):
        preferences, delta, truth = judged_cells(rng, cells=4, prompts=200)
        fits.append(fit_jointly(preferences, delta))
        truths.append(truth)
    errors = np.array([fit.controlled for fit in fits])
    assert np.mean([fit.stderr for fit in fits]) == pytest.approx(errors.std(axis=0, ddof=1).mean(), rel=0.3)
    lengths = [fit.length for fit in fits]
    assert np.mean([fit.length_stderr for fit in fits]) == pytest.approx(np.std(lengths, ddof=1), rel=0.35)
    assert np.mean(lengths) == pytest.approx(1.5, abs=0.25)


def test_the_joint_fit_of_extreme_cells(rng):
    """A cell that wins all keeps 1, one without verdicts has none, and a judge of length alone stays finite."""
    delta = rng.normal(0, 300, (4, 100))
    longer = (delta > 0) * 1.0
    longer[0], longer[3] = 1.0, NAN
    fit = fit_jointly(longer, delta)
    assert fit.controlled[0] == 1 and math.isnan(fit.controlled[3]) and math.isnan(fit.stderr[0])
    assert fit.controlled[1:3] == pytest.approx([0.5, 0.5], abs=0.2) and 5 < fit.length < 100
    assert math.isnan(fit_jointly(np.full((2, 3), NAN), np.zeros((2, 3))).controlled[0])
    single = fit_jointly(np.array([[0.3], [0.6]]), np.array([[3.0], [4.0]]))
    assert single.controlled == pytest.approx([0.3, 0.6]) and np.isnan(single.stderr).all()
    certain = fit_jointly(np.where(rng.random((3, 50)) < 0.5, 1e-9, 1e-6), rng.normal(0, 300, (3, 50)))
    assert (certain.controlled < 2e-6).all() and np.isfinite(certain.length)
    with pytest.raises(SftdivError, match="1 cell: length control needs at least 2"):
        fit_jointly(longer[:1], delta[:1])


def test_the_prior_of_alpaca_evals_judge_is_outweighed_by_its_verdicts(rng):
    preferences, delta, _ = judged_cells(rng, length=0.3)
    wide, known = (fit_jointly(preferences, delta, prior=prior) for prior in (WIDE, ALPACA_EVAL_GIVEN_DIFFICULTY))
    assert abs(known.length - wide.length) < 0.25 and known.length < 0.9 < ALPACA_EVAL_GIVEN_DIFFICULTY.mean - 0.5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"judge": "judge-2"}, "different values of judge do not compare: 'judge-1' in 2 .*'judge-2' in 1"),
        ({"baseline": "another"}, "different values of baseline"),
        (
            {"prompts": [f"q{number}" for number in range(40)]},
            "different prompts do not compare: .* 80 are not in both",
        ),
    ],
)
def test_cells_that_do_not_compare_are_refused(tmp_path, rng, changed, message):
    judged_study(tmp_path, rng, **changed)
    with pytest.raises(SftdivError, match=message):
        read_arena(tmp_path, draws=2, seed=0)


def test_arena_intervals_are_of_the_prompts(rng):
    preferences = (rng.random((2, 300)) < 0.6) * 1.0
    scores = arena_scores(preferences)
    wins, games = resample_games(preferences, draws=300, rng=rng)
    low, high = interval_ends(star_scores(wins, games))
    slope = 400 / math.log(10) / (0.6 * 0.4)  # points a unit of win rate
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.24 / 300) * slope, rel=0.25)
    assert ((low < scores) & (scores < high)).all()


def test_a_star_needs_no_fit_and_cells_without_a_verdict_have_no_score(rng):
    preferences = rng.random((3, 50))
    preferences[1, :20], preferences[2] = NAN, NAN
    known = ~np.isnan(preferences)
    assert star_scores(np.nansum(preferences, axis=1), known.sum(axis=1)) == pytest.approx(
        arena_scores(preferences), nan_ok=True
    )
    low, high = interval_ends(star_scores(*resample_games(preferences, draws=50, rng=rng)))
    assert np.isnan([low[2], high[2]]).all() and (low < high)[:2].all()
    for few in ({"draws": 0}, {"draws": 50, "of": 1}):
        assert np.isnan(
            interval_ends(star_scores(*resample_games(preferences[:, : few.pop("of", 50)], rng=rng, **few)))
        ).all()
