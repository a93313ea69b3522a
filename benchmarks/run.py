"""Run every benchmark, each in a process of its own, and put their tables into docs/benchmarks.md.

Run with `python benchmarks/run.py`; names such as `learn step` run these alone, `--tables` none.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "benchmarks.md"
NAMES = [
    "learn",
    "cells",
    "long_dependency",
    "predict",
    "step",
    "tail",
    "throughput",
    "roofline",
    "cold_start",
    "threads",
    "fleet",
    "fleet_step",
    "fleet_scaling",
]
# To be run one by one: they need a folder of streams, or servers, or long.
ALONE = [
    *("accuracy", "leave_one_out", "ett", "tuning", "reber", "sequences"),
    *("live", "bars", "memory", "fleet_snapshot"),
]


def write_page() -> None:
    """Replace what stands below the page's marker with the newest results."""
    head, marker, _ = PAGE.read_text().partition("<!-- results -->\n")
    sections = []
    for name in ["learn", "learn_grid", *NAMES[1:], "deep_river", *ALONE]:
        path = FOLDER / "results" / f"{name}.json"
        if path.exists():
            content = json.loads(path.read_text())
            machine = ", ".join(f"{key} {value}" for key, value in content["machine"].items())
            sections.append(f"\n## {content['title']}\n\n{content['table']}\n\n{machine}\n")
    PAGE.write_text(head + marker + "".join(sections))


def main() -> None:
    """Run what is asked for; a benchmark that fails does not stop the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, help=", ".join(NAMES))
    parser.add_argument("--tables", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(NAMES)}")
    failed = []
    for name in [] if arguments.tables else arguments.names:
        print(f"--- {name}", flush=True)
        if subprocess.run([sys.executable, str(FOLDER / f"{name}.py")], check=False).returncode:
            failed.append(name)
    write_page()
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
