"""The `streamlstm` command: a module for each of its commands, and their options."""
