"""Settings of the documentation site: `python -m sphinx -W docs docs/_build`."""

import importlib.metadata
import re
from typing import Any

project = "streamlstm"
author = "the streamlstm authors"
release = importlib.metadata.version("streamlstm")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"streamlstm {release}"
html_show_sourcelink = False
myst_heading_anchors = 3

# API pages: docstrings in numpy style, types from the annotations.
autodoc_default_options = {
    "members": True,
    "inherited-members": "Base, Classifier, Forecaster, MultiTargetRegressor, Regressor",  # river's
}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
default_role = "py:obj"  # `name` is a link where there is such a thing, else code
maximum_signature_line_length = 80
napoleon_google_docstring = False
napoleon_use_rtype = False


def _references_as_lines(*event: Any) -> None:
    """Keep the entries of References, `[1] ...`, apart in reStructuredText."""
    lines = event[-1]
    lines[:] = [re.sub(r"^(?=\[\d+\] )", "| ", line) for line in lines]


def setup(app: Any) -> None:
    """Let Sphinx ask for the changes above."""
    app.connect("autodoc-process-docstring", _references_as_lines)
