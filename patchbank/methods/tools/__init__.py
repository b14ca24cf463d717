"""What several methods have in common inside: settings, batches, optimisers, logs, states, heads on disk.

No method's folder: it has no `predict.py`, and imports none of them.
"""
