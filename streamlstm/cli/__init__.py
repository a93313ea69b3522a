"""The `streamlstm` command."""
