"""Masks that follow the pixels of their image: pixel-adaptive refinement (`pamr`), and the dense CRF (`crf`).

Both are rules `pamr.Rule`: masks of an image and its pixels in, the mask that wins at each pixel out. They know neither
predictions nor proposals, so that `patchbank.evaluation` and methods may use them alike.
"""
