"""Inference outside the pipeline: pictures in, segments out, from a checkpoint and the encoder that it names.

`inputs` finds the files, `encoder` the frozen ViT and the method, `tokens` turns a picture into tokens on one grid,
`naming` gives segments dataset-wide ids, `pictures` writes, `segment` is the whole way; `onnx_model` writes encoder
and head as one model for other runtimes.

What a method must offer: a module `infer.py` in its folder with `load(checkpoint)`, which returns a torch module as
`patchbank.methods.shape.TokenModel` describes it. Nothing here names a method, and no earlier room knows this one.
"""
