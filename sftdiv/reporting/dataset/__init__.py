"""The diversity report of a dataset: numbers that only a report needs, and how a report looks in the terminal and as a page."""
