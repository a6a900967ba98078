"""Tables as HTML and as Markdown."""

from kit.bench.table import Table, as_html, as_markdown

TABLE = Table("Times & more", ("Way", "ms"), [("<a>", "1.0"), ("b", "2.0")], note="n.")


def test_html_escapes_and_sets_numbers_right() -> None:
    page = as_html([TABLE, TABLE])
    assert page.count("<table>") == 2
    assert '<td style="text-align:left">&lt;a&gt;</td>' in page
    assert '<td style="text-align:right;white-space:nowrap">2.0</td>' in page
    assert "Times &amp; more" in page
    assert "n." in page


def test_markdown_has_the_title_the_rows_and_the_note() -> None:
    lines = as_markdown(TABLE).splitlines()
    assert lines == [
        "### Times & more",
        "",
        "| Way | ms |",
        "| --- | ---: |",
        "| <a> | 1.0 |",
        "| b | 2.0 |",
        "",
        "n.",
    ]
