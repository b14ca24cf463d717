"""Pages for a browser: `results/<dataset>/index.html` and `results/index.html`, static and without a network.

| module | makes | from |
|---|---|---|
| `scores` | scores of single images, confusion matrices in matched order | counts, cluster tables, matching |
| `gallery` | `gallery/<image>.<shown>.jpg` | manifest, predictions, scores of single images |
| `sheets` | `clusters/<method>.<cluster>.jpg`, typical crops of every cluster | predictions, bank |
| `charts` | SVG: classes, confusion matrices, score over K | rows of `report.json`, `scores` |
| `times` | seconds and memory of each stage | Snakemake's benchmark files |
| `tables` | tables with what a browser needs to sort them | the same cells as `report.md` |
| `render` | HTML | `templates/` (jinja2, autoescape on) |
| `build` | a dataset's page with its folders | all of the above |

A page is one HTML file with its style, script and charts inside, and pictures in folders beside it; it loads nothing
else (its content security policy forbids it). Words and numbers come from the same functions as `report.md`.
"""
