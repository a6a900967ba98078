"""Every notebook through papermill, as CI and `kit tour` run it."""

import ast
from pathlib import Path

import nbformat
import pytest

from kit.tour import check_parameters, find_notebooks, run_notebook

NOTEBOOKS = find_notebooks()


@pytest.mark.notebook
@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_expected_behaviour_holds(path: Path, tmp_path: Path) -> None:
    run = run_notebook(path, tmp_path)
    broken = [check for check in run.checks if not check.held]
    assert (run.error, broken) == (None, [])
    assert run.checks
    # What a reader sees without a kernel: the final reply, not a widget's repr.
    executed = nbformat.read(run.executed, as_version=4)
    views = [
        output.data["text/html"]
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ]
    assert views
    assert all("ASSISTANT" in view or "assistant" in view for view in views)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    check_parameters(path, {})
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    assert "papermill" not in notebook.metadata
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_annotated_and_explained(path: Path) -> None:
    """papermill's `--help-notebook` shows both."""
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
    ]
    names = []
    for node in ast.parse(cell.source).body:
        assert isinstance(node, ast.AnnAssign)
        assert isinstance(node.target, ast.Name)
        names.append(node.target.id)
    assert names == ["deployment_url", "provider", "model", "prompt", "pace"]
