"""Sweeps: a set at several encoders and blocks, and how well criteria without labels choose among them.

`judge` compares, `text` says it in Markdown and in sentences, `page` shows it in a browser, `write` does all of it.
"""
