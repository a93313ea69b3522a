"""Run the command with `python -m streamlstm`."""

from .cli.commands import main

main()
