"""What several methods have in common inside: settings, batches, optimisers, logs, states, heads on disk,
and the split of images into foreground and background.

No method's folder: it has no `predict.py`, and imports none of them.
"""
