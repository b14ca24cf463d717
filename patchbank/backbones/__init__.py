"""Frozen encoders: images in, tokens, class token and class-token attention of one block out."""
