"""Evaluation: from stored predictions to scores.

Two stages: `count` compares predictions with labels once and stores how many pixels every (image, segment, class)
has; `score` reduces those counts to protocols (one file each in `protocols/`) and aggregates them over seeds.
`preprocessing` says at which pixels the two are compared.
"""
