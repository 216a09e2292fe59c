"""The former command `python -m sftdiv.paired`, now `python -m sftdiv.analyze pair`."""
