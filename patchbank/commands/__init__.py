"""The commands of `patchbank`, one module each; a new file in this folder is a new command.

A module's name is the command's (`data_check` is ``patchbank data check``) and it defines

- `HELP`: one line, without a full stop;
- `add_arguments(parser)`: its arguments;
- `run(options) -> int`: the work, through the same function as the pipeline; the exit status is returned.

Heavy imports stand inside `run`, so that ``patchbank --help`` answers at once. A user's mistake raises `UserError`.
"""
