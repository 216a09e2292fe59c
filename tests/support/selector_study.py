"""A made-up study of three selectors: three replicates, two random draws in each, unmatched and length-matched."""

from synthetic_study import synthetic_row, write_cell

RANDOM = {0: (0.10, 0.14), 1: (0.20, 0.20), 2: (0.30, 0.32)}  # two draws per replicate: means 0.12, 0.20, 0.31
SCORES = {  # by match: score in replicates 0, 1, 2
    ("longest", "none"): (0.32, 0.41, 0.50),  # less random: 0.20, 0.21, 0.19
    ("k_center", "none"): (0.12, 0.22, 0.29),  # 0.00, 0.02, -0.02
    ("level", "none"): (0.11, 0.18, 0.28),  # -0.01, -0.02, -0.03
    ("longest", "length"): (0.16, 0.25, 0.37),  # 0.04, 0.05, 0.06
    ("k_center", "length"): (0.12, 0.22, 0.29),
    ("level", "length"): (0.11, 0.18, 0.28),
}
LENGTHS = {"longest": 200.0, "k_center": 100.0, "level": 50.0, "random": 100.0}


def _cell(folder, name, match, replicate, score, *, draw=0, ids=(), **changed):
    row = synthetic_row("made_up", "micro_token", "response", 1.0, 0, score, match=match)
    row |= {"cell": f"{name}-{match}-r{replicate}-{draw}", "replicate": replicate, "universe": 500}
    row |= {"seed.ladder": replicate, "seed.draw": draw, "seed.train": replicate, "config_hash": f"{name}{match}"}
    row |= {"diversity.response.length": LENGTHS[name] if match == "none" else 100.0}
    row |= {"time.units": 1.0, "time.select": 9.0 if replicate == 0 else 0.5, "train.accelerator": "cpu"}
    if name not in ("level", "random"):
        row |= {"kind": "selector", "selector": name, "level": None, "universe_of": "own"}
    if name == "random":
        row |= {"kind": "random", "strategy": "random"}
    write_cell(folder, row | changed, subset=ids)


def write_selector_study(folder):
    """Write the study; ``subset.parquet`` of longest, k_center and level 1 are ids 0-3, 2-5 and 4-7."""
    for (name, match), scores in SCORES.items():
        first = {"longest": 0, "k_center": 2, "level": 4}[name]
        for replicate, score in enumerate(scores):
            _cell(folder, name, match, replicate, score, ids=range(first, first + 4))
    for match in ("none", "length"):
        for replicate, draws in RANDOM.items():
            for draw, score in enumerate(draws):
                _cell(folder, "random", match, replicate, score, draw=draw, ids=range(10 + 2 * draw, 14 + 2 * draw))
    return folder
