"""A sweep in words and tables: cells for Markdown and for the page, and the sentences above them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

CRITERIA = {
    "seeds": "stability over k-means seeds",
    "halves": "stability over halves of the images",
    "seeds_whitened": "stability over seeds, whitened",
    "halves_whitened": "stability over halves, whitened",
    "silhouette_whitened": "silhouette, whitened",
    "used": "share of clusters used",
    "mirrored": "agreement with the mirror image",
}
"""Criteria in words."""
SEEING = "Criteria see tokens alone; each would choose the encoder where it is highest."
SCORING = (
    "Scores are mIoU under `{protocol}` in percent with the 95 % interval over images and trainings. Spearman: how "
    "well a criterion ranks the encoders of a row (1 perfectly, 0 not at all), with its range over resampled images, "
    "which is no interval of confidence: it leans towards 0 and is too narrow. Behind: points that its choice loses to "
    "the row's best, a little too many, as the best is chosen by the same scores; 0.0 without an interval where its "
    "choice is that best itself, though another encoder may be the best in truth."
)
TITLES = ("Spearman (range over resampled images)", "behind")
"""What a criterion is judged by under a row."""
NOTHING = "–"


def sentences(content: Mapping[str, Any]) -> Iterator[str]:
    """What one learns from a sweep."""
    choices = content["choices"]
    if not choices:
        yield "There are too few images for any criterion."
        return
    if not content["rows"]:
        chosen = sorted(set(choices.values()), key=lambda name: -list(choices.values()).count(name))
        listed = "; ".join(f"`{one}` ({', '.join(_said(c) for c, e in choices.items() if e == one)})" for one in chosen)
        yield f"Without labels there is no score. Criteria would choose {listed}."
        return
    for row, best in content["best"].items():
        right = [_said(name) for name, choice in choices.items() if choice == best]
        by = f"{_and(right)} would have chosen it" if right else "no criterion would have chosen it"
        yield f"Under `{row}`{_mark(content, row)} the best encoder is `{best}` ({_score(content, best, row)}): {by}."
    lost = {name: mean for name in choices if (mean := _mean_behind(content, name)) is not None}
    if not lost:
        return
    least = min(lost, key=lambda name: lost[name])
    yield (
        f"Over {_averaged(content)} the choice of {_said(least)}, `{choices[least]}`, loses least: {lost[least]:.1f} "
        f"points to the best encoder of each row on average; the others lose {_range(lost, least)}."
    )


def reading(content: Mapping[str, Any]) -> str:
    """How to read the tables; of scores only where there are some."""
    return f"{SCORING.format(protocol=content['protocol'])} {SEEING}" if content["rows"] else SEEING


def score_table(content: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and lines: an encoder a line, its scores, and its criteria beside them."""
    header = [
        "encoder",
        *(row + _mark(content, row) for row in content["rows"]),
        *(_said(name) for name in content["criteria"]),
    ]
    lines = []
    for encoder in content["encoders"]:
        scores = [_cell(encoder["scores"].get(row), content["best"][row] == encoder["name"]) for row in content["rows"]]
        values = [
            _marked(_number(encoder["criteria"][name], 3), content["choices"][name] == encoder["name"])
            for name in content["criteria"]
        ]
        lines.append([encoder["name"], *scores, *values])
    return header, lines


def judged_table(content: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and lines: a criterion a line, what it would choose, and how that fares under every row."""
    rows = content["rows"]
    titles = [f"{row}{_mark(content, row)}: {title}" for row in rows for title in TITLES]
    header = ["criterion", "would choose", *titles]
    by = {(one["criterion"], one["row"]): one for one in content["judged"]}
    lines = []
    for name in content["criteria"]:
        cells = []
        for row in rows:
            one = by[name, row]
            low, high = one["range"] or (None, None)
            cells.append(_with_interval(_number(one["spearman"], 2), low, high, 2))
            cells.append(_cell(one["behind"]))
        lines.append([_said(name), content["choices"][name], *cells])
    return header, lines


def markdown(content: Mapping[str, Any]) -> Iterator[str]:
    """The lines of `sweep.md`."""
    yield f"# Sweep of {content['dataset']}"
    yield ""
    for sentence in sentences(content):
        yield f"- {sentence}"
    yield ""
    yield reading(content)
    yield ""
    yield from _table(*score_table(content))
    if content["rows"]:
        yield ""
        yield from _table(*judged_table(content))
    if content["left_out"]:
        yield ""
        yield "Left out:"
        yield ""
        yield from (f"- {entry['row']}: {entry['reason']}" for entry in content["left_out"])


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "| --- |" + " --: |" * (len(header) - 1)
    yield from ("| " + " | ".join(line) + " |" for line in lines)


def _mark(content: Mapping[str, Any], row: str) -> str:
    """What must be known of a row beside its name, e.g. ``" (ceiling, oracle: train)"``; nothing for most."""
    mark = content["marks"][row]
    said = ["ceiling"] if mark["ceiling"] else []
    said += [f"oracle: {mark['oracle']}"] if mark["oracle"] else []
    return f" ({', '.join(said)})" if said else ""


def _averaged(content: Mapping[str, Any]) -> str:
    """The rows that a mean is over, with those that use labels by their names."""
    rows = content["rows"]
    seeing = [f"`{row}`" for row in rows if content["marks"][row]["oracle"]]
    count = "all rows" if len(rows) != 1 else "the one row"
    return f"{count} (labels are used by {_and(seeing)})" if seeing else count


def _said(criterion: str) -> str:
    return CRITERIA[criterion]


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _marked(text: str, chosen: bool) -> str:
    return f"**{text}**" if chosen else text


def _with_interval(text: str, low: float | None, high: float | None, digits: int) -> str:
    return text if low is None or high is None else f"{text} ({low:.{digits}f} to {high:.{digits}f})"


def _cell(score: Mapping[str, float | None] | None, chosen: bool = False) -> str:
    if score is None:
        return NOTHING
    return _marked(_with_interval(_number(score["value"], 1), score["low"], score["high"], 1), chosen)


def _score(content: Mapping[str, Any], encoder: str, row: str) -> str:
    scores = next(one["scores"] for one in content["encoders"] if one["name"] == encoder)
    return _cell(scores[row])


def _mean_behind(content: Mapping[str, Any], criterion: str) -> float | None:
    """Points that a criterion's choice loses on average over the rows that it has; None where it has none."""
    lost = [one["behind"]["value"] for one in content["judged"] if one["criterion"] == criterion and one["behind"]]
    return float(sum(lost) / len(lost)) if lost else None


def _range(lost: Mapping[str, float], least: str) -> str:
    others = [value for name, value in lost.items() if name != least]
    return f"{min(others):.1f} to {max(others):.1f}" if others else "nothing, being none"
