"""Clusterers: vectors to clusters, one file each and one YAML each under ``conf/strategy/clusterer``; and the steps that they share."""
