"""One run in the order of the data: artifacts, stages, result row, and the outputs of a finished cell."""
