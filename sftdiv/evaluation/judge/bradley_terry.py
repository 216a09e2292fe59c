"""Bradley-Terry strengths: one score per player from pairwise wins, on the scale of Chatbot Arena.

A matrix of wins comes in; one score per player goes out, with the anchor's fixed at 1000. Each pair
that met gets one additional tied game (half a win each), so that a player without a loss has a finite
score. This pulls all scores slightly together, less so the more games there are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError

Floats = NDArray[np.float64]
ARENA = 400 / math.log(10)  # points per logit: 400 points are odds of 10 to 1, as in chess
ANCHOR = 1000.0
DRAWN_GAMES = 1.0
ROUNDS, TOLERANCE = 100, 1e-12


def bradley_terry(wins: Floats, *, anchor: int = 0, drawn_games: float = DRAWN_GAMES) -> Floats:
    """Scores with ``P(i beats j) = 1 / (1 + 10^((score_j - score_i) / 400))``, by maximum likelihood.

    Bradley and Terry 1952; Chiang et al. 2024, arXiv 2403.04132, section 5. Players that met only the
    anchor (a star) have the logit of their win rate against it: ``1000 + 400 log10(w / (1 - w))``,
    where w includes the tied games.

    Args:
        wins: ``wins[i, j]`` is the number of wins of i against j, a tie counting half a win each, shape
            (players, players).
        anchor: The player whose score is 1000.
        drawn_games: Tied games added to each pair that met, which keep scores finite.

    Returns:
        Shape (players,); NaN for players without a chain of games to the anchor.

    Raises:
        SftdivError: If the matrix is not square, or holds anything but finite numbers from 0.
    """
    wins = np.asarray(wins, dtype=np.float64)
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or not np.isfinite(wins).all() or (wins < 0).any():
        raise SftdivError(
            f"wins must be a square matrix of finite numbers from 0, one row per player; got shape {wins.shape}"
        )
    wins = wins * ~np.eye(len(wins), dtype=bool)
    met = wins + wins.T > 0
    wins = wins + drawn_games / 2 * met
    scores = np.full(len(wins), np.nan)
    connected = _connected(met, anchor)
    position = int(np.flatnonzero(connected == anchor)[0])
    scores[connected] = ANCHOR + ARENA * _strengths(wins[np.ix_(connected, connected)], position)
    return scores


def star_scores(wins: Floats, games: Floats) -> Floats:
    """Scores of players that met only the anchor, equal to those of `bradley_terry` but without a fit: their logits.

    Args:
        wins: Wins against the anchor, any shape.
        games: Games against the anchor, the same shape.

    Returns:
        The same shape; NaN without games.
    """
    scores = ANCHOR + ARENA * np.log((wins + DRAWN_GAMES / 2) / (games - wins + DRAWN_GAMES / 2))
    return np.where(np.asarray(games) > 0, scores, np.nan)


def _connected(met: NDArray[np.bool_], anchor: int) -> NDArray[np.int64]:
    """The players with a chain of games to the anchor, ascending."""
    reached = np.arange(len(met)) == anchor
    while (extended := reached | met[reached].any(axis=0)).sum() > reached.sum():
        reached = extended
    return np.flatnonzero(reached)


def _strengths(wins: Floats, anchor: int) -> Floats:
    """Log strengths with the anchor's at 0, by Newton's method: the likelihood is concave."""
    games, won = wins + wins.T, wins.sum(axis=1)
    free = np.delete(np.arange(len(wins)), anchor)
    strengths = np.zeros(len(wins))
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(strengths - strengths[:, None]))
        spread = games * chance * (1 - chance)
        curvature = np.diag(spread.sum(axis=1)) - spread
        ascent = won - (games * chance).sum(axis=1)
        step = np.linalg.solve(curvature[np.ix_(free, free)], ascent[free]) if len(free) else np.zeros(0)
        longest = float(np.abs(step).max(initial=0))
        strengths[free] += step / max(1.0, longest)  # steps are limited to 1, beyond which Newton's may diverge
        if longest < TOLERANCE:
            break
    return strengths
