from __future__ import annotations

import re
from pathlib import Path

from speechportal.settings import env


def test_every_setting_is_documented_and_no_other() -> None:
    text = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Settings")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = re.findall(r"SPEECHPORTAL_([A-Z_]+)", " ".join(rows))
    assert sorted(documented) == sorted(env.names)
