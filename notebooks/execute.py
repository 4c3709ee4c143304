"""Run the notebooks and keep what they show: what `make notebooks` runs.

Each runs in a kernel of this environment and in a folder of its own, which is removed. What is
kept is the same wherever it ran but for the numbers: no times, no versions.
"""

import os
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path, data: str | None) -> nbformat.NotebookNode:
    """A notebook with the outputs that its cells have with these data, else with its own.

    Raises nbclient's CellExecutionError where a cell fails.

    Args:
        path: The notebook.
        data: What its `DATA` is to be; None leaves that to itself.
    """
    notebook = nbformat.read(path, as_version=4)
    root = Path(os.environ.get("VAE_LAB_DATA", ROOT / "data")).resolve()
    said = {"VAE_LAB_DATA": str(root), "WANDB_MODE": "offline"}
    said |= {} if data is None else {"VAE_LAB_NOTEBOOK_DATA": data}
    with TemporaryDirectory() as folder:
        Path(folder, "matplotlibrc").write_text("figure.dpi: 72\n")  # small files
        client = NotebookClient(
            notebook,
            timeout=3600,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env={**os.environ, **said})
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def main() -> None:
    """Execute the notebooks that the command line names, all if none."""
    parser = ArgumentParser(description=__doc__)
    every = sorted((ROOT / "notebooks").glob("*.ipynb"))
    parser.add_argument("notebooks", nargs="*", type=Path, default=every)
    parser.add_argument("--data", help="what DATA is; each notebook has its own default")
    parser.add_argument("--into", type=Path, help="a folder; in place, or with --data below runs/")
    asked = parser.parse_args()
    elsewhere = ROOT / "runs" / "notebooks" / asked.data if asked.data else None
    for path in asked.notebooks:
        folder = asked.into or elsewhere or path.parent
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{path.name} on {asked.data or 'its own data'} ...", flush=True)
        nbformat.write(execute(path, asked.data), folder / path.name)
        print(f"  {folder / path.name}")


if __name__ == "__main__":
    main()
