"""The configuration: read, completed, checked once, and asked by everything that runs."""
