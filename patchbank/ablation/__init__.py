"""Ablations: one factor of a method at a time, every row through the same stages, in one table with intervals.

`rows` knows the variants, `run` computes one of them from banks to scores in one process, `table` compares them.
"""
