"""Weights of frozen backbones: where they come from, verified, converted to timm's names, with provenance.

`fetch.py` is the stage; one module per kind of source (`local`, `hub`, `wheel`). The result is always
`weights.safetensors` with timm's parameter names, and a json that says where it came from.
"""
