"""The bank: frozen features on disk. `format` says how a shard looks, `writer` and `reader` are its two ends.

`extract` is the stage that fills it, `statistics` the one that sums it up, `verify` checks it.
"""
