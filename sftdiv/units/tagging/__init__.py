"""Who tags a text, one file a tagger, and how raw tags become final ones, one file a step."""
