"""What each rule of the workflow reads, writes and is given, as typed functions of a checked configuration.

Every subject has a module, named after the rule files that ask it: `stages` (data, weights, bank, methods),
`evaluation`, `reports`, `ablations`; `rows` says which rows a set has, `paths` where files lie, `code` what the code of
a stage is. Functions that a rule names directly take the wildcards of its job (`wildcards`). What is known only when
other jobs are done is asked from `checkpoints.Finished`, which the workflow implements; nothing here knows Snakemake.
"""
