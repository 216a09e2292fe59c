"""One run in the order of the data: artifacts, stages, the result row, and what is made of a finished cell."""
