"""The tour: which notebooks run, what came out, and the exit status that follows."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kit import tour
from kit.cli import main
from kit.errors import ConfigError

PARAMETERS = 'name: str = "world"  # who is greeted'

CHECKING = """
from kit.checks import Checks
checks = Checks("Greeting")
checks.expect("Somebody is greeted", name, name)
checks.verify()
"""


def write_notebook(folder: Path, name: str, *sources: str) -> Path:
    cells = [new_markdown_cell("# A greeting"), new_code_cell(PARAMETERS)]
    cells[1].metadata["tags"] = ["parameters"]
    cells += [new_code_cell(source) for source in sources]
    path = folder / f"{name}.ipynb"
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), path)
    return path


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(tour, "notebooks_folder", lambda: folder)
    return folder


def test_a_notebook_that_holds(tmp_path: Path) -> None:
    path = write_notebook(tmp_path, "01_greeting", CHECKING)
    out = tmp_path / "out"
    out.mkdir()
    cells: list[tuple[int, int]] = []
    run = tour.run_notebook(
        path, out, {"name": "Ada"}, progress=lambda *at: cells.append(at)
    )
    assert run.passed
    assert run.title == "A greeting"
    assert [(c.expected, c.held, c.evidence) for c in run.checks] == [
        ("Somebody is greeted", True, "Ada")
    ]
    assert run.anchor(run.checks[0]).startswith("cell-id=")
    assert run.executed.exists()
    assert cells[-1] == (4, 4)


def test_a_check_that_fails_names_its_cell(tmp_path: Path) -> None:
    path = write_notebook(tmp_path, "01_greeting", CHECKING, "1 + 1")
    out = tmp_path / "out"
    out.mkdir()
    run = tour.run_notebook(path, out, {"name": ""})
    assert not run.passed
    assert run.error is not None
    assert run.error.startswith("CheckFailed")
    assert run.failed_cell == 4
    assert [(check.held, check.cell) for check in run.broken] == [(False, 3)]
    assert run.failure_anchor == run.anchor(run.broken[0])


def test_a_cell_that_never_ends_is_cut(tmp_path: Path) -> None:
    path = write_notebook(tmp_path, "01_greeting", "import time; time.sleep(60)")
    out = tmp_path / "out"
    out.mkdir()
    run = tour.run_notebook(path, out, cell_timeout=1)
    assert not run.passed
    assert run.error == "The cell did not end within 1 s."


def test_an_unknown_parameter_is_an_error(tmp_path: Path) -> None:
    path = write_notebook(tmp_path, "01_greeting")
    with pytest.raises(ConfigError, match=r"no parameter 'nmae'\. It has: name"):
        tour.check_parameters(path, {"nmae": "Ada"})


@pytest.mark.parametrize(
    "source", ["name: str | None = None  # who", "name = None", "a = 1\nname = a"]
)
def test_a_parameter_is_known_however_it_is_written(
    tmp_path: Path, source: str
) -> None:
    path = write_notebook(tmp_path, "01_greeting")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = source
    nbformat.write(notebook, path)
    tour.check_parameters(path, {"name": "Ada"})


def test_such_a_parameter_is_set_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_notebook(tmp_path, "01_greeting", CHECKING)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = "name: str | None = None  # who is greeted"
    nbformat.write(notebook, path)
    out = tmp_path / "out"
    out.mkdir()
    run = tour.run_notebook(path, out, {"name": "Ada"})
    assert [check.evidence for check in run.checks] == ["Ada"]
    assert "unknown parameter" not in caplog.text


def test_parameters_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    path = write_notebook(tmp_path, "01_greeting")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = "name ="
    nbformat.write(notebook, path)
    with pytest.raises(ConfigError, match=r"01_greeting\.ipynb: .*cannot be read"):
        tour.check_parameters(path, {})


def test_a_notebook_without_parameters_is_an_error(tmp_path: Path) -> None:
    path = write_notebook(tmp_path, "01_bare")
    notebook = nbformat.read(path, as_version=4)
    del notebook.cells[1]
    nbformat.write(notebook, path)
    with pytest.raises(ConfigError, match="no cell tagged 'parameters'"):
        tour.check_parameters(path, {})


def test_only_some_notebooks(notebooks: Path) -> None:
    first = write_notebook(notebooks, "01_greeting")
    second = write_notebook(notebooks, "02_farewell")
    assert tour.find_notebooks() == [first, second]
    assert tour.find_notebooks(["02"]) == [second]
    with pytest.raises(ConfigError, match="No notebook is called 07"):
        tour.find_notebooks(["02", "07"])


def test_the_exit_status_and_the_report(
    notebooks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(notebooks, "01_greeting", CHECKING)
    write_notebook(notebooks, "02_broken", "raise RuntimeError('<broken>')")
    out = tmp_path / "results"
    assert main(["tour", "01", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 expected behaviours held" in shown
    assert str(out / "report.html") in shown
    assert main(["tour", "--out", str(out)]) == 1
    page = (out / "report.html").read_text()
    assert "RuntimeError: &lt;broken&gt;" in page
    assert "Some checks failed" in page
    assert 'errors="1"' in (out / "junit.xml").read_text()


def test_a_folder_that_cannot_be_written_is_a_clear_error(
    notebooks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(notebooks, "01_greeting", CHECKING)
    (tmp_path / "file").write_text("")
    assert main(["tour", "--out", str(tmp_path / "file" / "out")]) == 2
    assert "--out" in capsys.readouterr().err


def test_results_of_a_bench_are_in_the_report(notebooks: Path, tmp_path: Path) -> None:
    write_notebook(notebooks, "01_greeting", CHECKING)
    bench = tmp_path / "bench"
    bench.mkdir()
    with pytest.raises(ConfigError, match="kit bench"):
        tour.tour(out=tmp_path / "out", bench=bench)
    assert not (tmp_path / "out").exists()

    (bench / "bench.md").write_text(
        "### Where it must be\n\n| Target |\n| --- |\n| <fast> |\n\n"
        "### What it costs\n\n| Way |\n| --- |\n| bare |\n\n![latency](latency.svg)\n"
    )
    (bench / "latency.svg").write_text("<svg><title>Latency</title></svg>")
    assert tour.tour(out=tmp_path / "out", bench=bench) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    shown = page[page.index('id="bench"') : page.index('id="open"')]
    assert '<details open class="bench"><summary>Where it must be' in shown
    assert "<td>&lt;fast&gt;</td>" in shown
    assert '<details class="bench"><summary>What it costs' in shown
    assert "<svg><title>Latency" in shown
    assert "latency.svg" not in shown
