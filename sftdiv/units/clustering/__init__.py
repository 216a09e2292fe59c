"""Clusterers, each one file and one YAML file under ``conf/strategy/clusterer``, and the steps that they share."""
