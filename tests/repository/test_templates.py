"""Templates are readable line by line."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
LONGEST_LINE = 120


def test_no_line_of_a_template_is_longer_than_a_screen_is_wide() -> None:
    paths = sorted(TEMPLATES.rglob("*.html"))
    assert len(paths) > 100
    long_lines = [
        f"{path.relative_to(TEMPLATES)}:{number}: {len(line)} characters"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line) > LONGEST_LINE
    ]
    assert long_lines == []
