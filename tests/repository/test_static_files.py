"""Static files are served under hashed names, and modules import each other by them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from django.core.files.storage import FileSystemStorage

from speechportal.platform.static_files import HashedStaticFilesStorage

SCRIPTS = Path(__file__).resolve().parents[2] / "speechportal" / "static" / "portal" / "transcript"


def test_modules_import_each_other_by_their_hashed_names(tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "transcript")
    paths = {
        f"transcript/{path.name}": (FileSystemStorage(tmp_path), f"transcript/{path.name}")
        for path in SCRIPTS.glob("*.js")
    }
    storage = HashedStaticFilesStorage(location=tmp_path, base_url="/static/")
    results = {name: hashed for name, hashed, _ in storage.post_process(paths) if str(hashed).endswith(".js")}
    main = (tmp_path / str(results["transcript/main.js"])).read_text()
    imported = re.findall(r'^import .* from "\./([^"]+)";$', main, re.MULTILINE)
    assert len(imported) > 8
    for name in imported:
        assert re.fullmatch(r"\w+\.[0-9a-f]{12}\.js", name)
        assert (tmp_path / "transcript" / name).is_file()
