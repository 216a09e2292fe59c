"""Bradley-Terry strengths: one score a player from pairwise wins, on the scale of Chatbot Arena.

In: who won how often against whom. Out: one score each, the anchor's fixed. The trade: each pair
that met is given one drawn game beside its own (half a win each), so that a player without a loss
has a finite score; it pulls all scores a little together, less the more games there are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError

Floats = NDArray[np.float64]
ARENA = 400 / math.log(10)  # 400 points are odds of 10 to 1, as in chess
ANCHOR = 1000.0
DRAWN_GAMES = 1.0
ROUNDS, TOLERANCE = 100, 1e-12


def bradley_terry(wins: Floats, *, anchor: int = 0, drawn_games: float = DRAWN_GAMES) -> Floats:
    """Scores with ``P(i beats j) = 1 / (1 + 10^((score_j - score_i) / 400))``, by maximum likelihood.

    Bradley and Terry 1952; Chiang et al. 2024, arXiv 2403.04132, section 5. Players that met the
    anchor alone (a star) have the logit of their win rate against it: ``1000 + 400 log10(w / (1 -
    w))``, where w counts the drawn games.

    Args:
        wins: ``wins[i, j]`` is how often i beat j, a draw counting half a win each way, shape
            (players, players).
        anchor: The player whose score is 1000.
        drawn_games: Drawn games added to each pair that met, which keep scores finite.

    Returns:
        Shape (players,); NaN for players whom no chain of games joins to the anchor.

    Raises:
        SftdivError: If the matrix is not square, or holds something else than finite numbers from 0.
    """
    wins = np.asarray(wins, dtype=np.float64)
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or not np.isfinite(wins).all() or (wins < 0).any():
        raise SftdivError(
            f"wins must be a square matrix of finite numbers from 0, one row a player; got shape {wins.shape}"
        )
    wins = wins * ~np.eye(len(wins), dtype=bool)
    met = wins + wins.T > 0
    wins = wins + drawn_games / 2 * met
    scores = np.full(len(wins), np.nan)
    joined = _joined(met, anchor)
    scores[joined] = ANCHOR + ARENA * _strengths(wins[np.ix_(joined, joined)], int(np.flatnonzero(joined == anchor)[0]))
    return scores


def star_scores(wins: Floats, games: Floats) -> Floats:
    """What `bradley_terry` gives players that met the anchor alone, without a fit: their logits.

    Args:
        wins: Against the anchor, any shape.
        games: As many as were played, the same shape.

    Returns:
        The same shape; NaN where none was played.
    """
    scores = ANCHOR + ARENA * np.log((wins + DRAWN_GAMES / 2) / (games - wins + DRAWN_GAMES / 2))
    return np.where(np.asarray(games) > 0, scores, np.nan)


def _joined(met: NDArray[np.bool_], anchor: int) -> NDArray[np.int64]:
    """The players whom games join to the anchor, ascending."""
    reached = np.arange(len(met)) == anchor
    while (further := reached | met[reached].any(axis=0)).sum() > reached.sum():
        reached = further
    return np.flatnonzero(reached)


def _strengths(wins: Floats, anchor: int) -> Floats:
    """Log strengths, the anchor's being 0, by Newton's method: the likelihood is concave."""
    games, won = wins + wins.T, wins.sum(axis=1)
    free = np.delete(np.arange(len(wins)), anchor)
    strengths = np.zeros(len(wins))
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(strengths - strengths[:, None]))
        spread = games * chance * (1 - chance)
        curvature = np.diag(spread.sum(axis=1)) - spread
        ascent = won - (games * chance).sum(axis=1)
        step = np.linalg.solve(curvature[np.ix_(free, free)], ascent[free]) if len(free) else np.zeros(0)
        strengths[free] += step / max(
            1.0, float(np.abs(step).max(initial=0))
        )  # no step over 1, where Newton alone might leap too far
        if np.abs(step).max(initial=0) < TOLERANCE:
            break
    return strengths
