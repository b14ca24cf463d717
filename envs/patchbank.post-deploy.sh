#!/usr/bin/env bash
# Snakemake runs this in its working folder after it made the environment; the package comes from the checkout there.
set -euo pipefail
if [ ! -f pyproject.toml ]; then
    echo "PatchBank: --sdm conda installs the package of a checkout, and $PWD is none; run it in a checkout, or without --sdm conda." >&2
    exit 1
fi
pip install --no-deps -e .
