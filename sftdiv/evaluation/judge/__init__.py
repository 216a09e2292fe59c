"""Pairwise judging of open-ended answers: asking a judge, and the arithmetic of its verdicts."""
