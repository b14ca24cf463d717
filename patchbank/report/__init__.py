"""From scores to what people read: report.json, report.md, pictures, pages for a browser, the summary over all sets.

| module | makes | from |
|---|---|---|
| `rows`, `content` | the types of what is reported | `scores.json`, `report.json` |
| `build` | `report.json`, the one source of every page | `scores.json` files and a `ReportContext` |
| `markdown`, `write` | `report.md` | `report.json` |
| `summary` | `summary.json`, `summary.md` | all `report.json` |
| `panel` | the qualitative panel PNG | manifest, prediction files, cluster tables, assignment |
| `curves` | the training curves PNG | `steps.csv` of each training seed |
| `page` | `index.html` of a set and of all sets, with their pictures | `report.json`, predictions, counts, bank |
| `two_runs` | what changed between two runs | two folders of finished runs |

A further format is one more module beside `markdown.py` that takes the `Report` of `content.py` and nothing else; what
it says in words it takes from `protocols`, `notes` and `text`, so that two formats never contradict each other.
Nothing here computes a score of a table.
"""
