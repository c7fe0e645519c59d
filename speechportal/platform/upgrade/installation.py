"""`Installation`: its Git checkout, the staging folder for new code, and its `manage.py`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from speechportal.platform.processes import die_with_parent
from speechportal.platform.upgrade.journal import UpgradeRefused

LOCK_SECONDS = 4  # longest wait of a migration for a table's lock; queries queue behind it meanwhile
LOCK_TRIES = 30
_BUSY = ("lock timeout", "database is locked", "database table is locked", "deadlock detected")
_APPLIED = re.compile(r"^\[X\]\s+(\w+)\.(\w+)")
_ZERO = "zero"


@dataclass(frozen=True)
class Installation:
    """Installation of the portal: ``code`` is the running checkout, ``data`` the data folder."""

    code: Path
    data: Path

    @property
    def staged(self) -> Path:
        """Staging folder: contains the new code while the old one is running."""
        return self.data / "upgrade-code"

    # --- Git -------------------------------------------------------------------------------------------

    def git(self, *arguments: str) -> str:
        """Run git in the checkout. Raises UpgradeRefused with git's own last line."""
        if shutil.which("git") is None:
            raise UpgradeRefused("git is not installed.")
        command = ["git", "-c", f"safe.directory={self.code}", *arguments]
        ran = subprocess.run(command, cwd=self.code, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise UpgradeRefused(f"git {arguments[0]} failed: {_last_line(ran.stderr)}")
        return ran.stdout.strip()

    def commit(self, name: str = "HEAD") -> str:
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except UpgradeRefused as error:
            raise UpgradeRefused(f"{self.code} has no commit or tag {name}; run: git fetch --tags") from error

    def changed_files(self) -> list[str]:
        lines = self.git("status", "--porcelain", "-uno").splitlines()
        return [line.split(maxsplit=1)[1] for line in lines]

    def stage(self, commit: str) -> None:
        """Check out a commit into the staging folder."""
        if (self.staged / "manage.py").exists() and self._staged_commit() == commit:
            return
        self.unstage()
        self.git("worktree", "add", "--detach", "--force", str(self.staged), commit)

    def unstage(self) -> None:
        shutil.rmtree(self.staged, ignore_errors=True)
        self.git("worktree", "prune")

    def _staged_commit(self) -> str:
        command = ["git", "rev-parse", "HEAD"]
        ran = subprocess.run(command, cwd=self.staged, capture_output=True, text=True, check=False)
        return ran.stdout.strip()

    def switch(self, commit: str) -> None:
        """Check out a commit in place of the running code, even after an interrupted switch."""
        if self.commit() == commit and not self.changed_files():
            return
        (self.code / self.git("rev-parse", "--git-path", "index.lock")).unlink(missing_ok=True)
        self.git("checkout", "--force", "--quiet", "--detach", commit)

    def packages_differ(self, one: str, other: str) -> bool:
        return bool(self.git("diff", "--name-only", one, other, "--", "requirements.lock"))

    # --- manage.py -------------------------------------------------------------------------------------

    @property
    def python(self) -> str:
        own = self.code / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    def manage(self, *arguments: str, staged: bool = False) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` of the running or of the staged code on this installation's data."""
        environ = {
            **os.environ,
            "SPEECHPORTAL_DATA_DIR": str(self.data),
            # Waiting long for a lock would make the portal's own queries wait behind it.
            "PGOPTIONS": f"{os.environ.get('PGOPTIONS', '')} -c lock_timeout={LOCK_SECONDS}s".strip(),
        }
        environ.pop("PYTHONPATH", None)
        folder = self.staged if staged else self.code
        command = [self.python, str(folder / "manage.py"), *arguments]
        return subprocess.run(
            command,
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            user=self.owner,
            group=self.group,
            preexec_fn=die_with_parent,  # A migration must not run beside that of the next attempt.
        )

    @property
    def owner(self) -> int | None:
        """User ID of the data's owner, to which root switches for everything that writes there."""
        return self.data.stat().st_uid if os.geteuid() == 0 else None

    @property
    def group(self) -> int | None:
        return self.data.stat().st_gid if os.geteuid() == 0 else None

    def applied(self) -> dict[str, str]:
        """Last applied migration of each app, according to the running code."""
        ran = self.manage("showmigrations", "--plan")
        if ran.returncode:
            raise UpgradeRefused(f"The database cannot be read: {_last_line(ran.stderr)}")
        found = (_APPLIED.match(line) for line in ran.stdout.splitlines())
        return {match[1]: match[2] for match in found if match}

    def migrate(self, *target: str) -> None:
        """Run the new code's migrations, retrying while a table is locked. Raises UpgradeRefused."""
        for _ in range(LOCK_TRIES):
            ran = self.manage("migrate", "--noinput", *target, staged=True)
            if not ran.returncode:
                return
            if not any(words in ran.stderr for words in _BUSY):
                raise UpgradeRefused(f"A migration failed: {_last_line(ran.stderr)}")
            time.sleep(2)
        raise UpgradeRefused("The database is so busy that a migration gets no lock; try at a quieter time.")

    def unmigrate(self, before: dict[str, str]) -> None:
        """Reverse the migrations applied since. Raises UpgradeRefused if one is irreversible."""
        ran = self.manage("showmigrations", "--plan", staged=True)
        matches = (_APPLIED.match(line) for line in ran.stdout.splitlines())
        now = {match[1]: match[2] for match in matches if match}
        for app in reversed(now):
            if now[app] != before.get(app, _ZERO):
                self.migrate(app, before.get(app, _ZERO))

    def install_packages(self, *, staged: bool) -> None:
        """Install the locked packages of the staged code, or of the running code."""
        folder = self.staged if staged else self.code
        command = [self.python, str(folder / ".deploy" / "install_packages.py"), "runtime"]
        if subprocess.run(command, cwd=folder, check=False).returncode:
            raise UpgradeRefused("The packages could not be installed; pip says why above.")


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it gives no reason."
