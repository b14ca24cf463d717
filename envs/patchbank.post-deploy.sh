#!/usr/bin/env bash
# Snakemake runs this in the project's folder after it made the environment.
set -euo pipefail
pip install --no-deps -e .
