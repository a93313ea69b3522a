"""Run the command with `python -m streamlstm`."""

from .cli.app import main

main()
