"""Rule `compare`: differences between the methods of a set, with intervals."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation.compare import Compared, compare_methods
    from patchbank.evaluation.score import Scoring, context_of
    from patchbank.files import write_json
    from patchbank.left_out import first_left_out, left_out_at
    from patchbank.methods.contract import Method
    from patchbank.plain import from_plain

    classes = Manifest.load(snakemake.input.manifest).classes
    files = {name: map(Path, snakemake.input.get(name, [])) for name in ("counts", "tables", "instances")}
    scoring, compared = from_plain(Scoring, snakemake.params.scoring), []
    for method in (from_plain(Method, values) for values in snakemake.params.methods):
        context = context_of(method, classes, scoring)
        # files stand in the order of methods and seeds; methods that predict classes have no tables
        names = [name for name in files if name != "tables" or context.kind == "segments"]
        of_method = {name: dict(zip(method.seeds, files[name], strict=False)) for name in names}
        if first_left_out([*of_method["counts"].values(), *of_method.get("tables", {}).values()]):
            continue
        of_method["instances"] = {
            seed: path for seed, path in of_method["instances"].items() if left_out_at(path) is None
        }
        compared.append(Compared(context, of_method["counts"], of_method.get("tables"), of_method.get("instances")))
    write_json(snakemake.output[0], compare_methods(compared))
