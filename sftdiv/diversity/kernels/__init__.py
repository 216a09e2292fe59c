"""Loops compiled by numba. They are imported where they are called: to declare a metric costs no import of numba."""
