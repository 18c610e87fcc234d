"""shellcheck over every shell file of the project; the files are found, so that a new one cannot be forgotten."""

from __future__ import annotations

import shutil
import subprocess
import sys

from lab.paths import PROJECT


def shell_files() -> list[str]:
    """Tracked and new files that end in .sh or start with a shell's shebang."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = []
    for name in names:
        path = PROJECT / name
        if not path.is_file() or path.is_symlink():
            continue
        if name.endswith(".sh"):
            found.append(name)
        elif "." not in path.name:
            with path.open("rb") as stream:
                first = stream.readline(80)
            if first.startswith(b"#!") and first.split(b"/")[-1].split()[0] in (b"sh", b"bash", b"dash"):
                found.append(name)
    return found


def main() -> int:
    """Exit code of shellcheck."""
    if shutil.which("shellcheck") is None:
        print("error: shellcheck is missing. Next: make packages", file=sys.stderr)
        return 1
    files = shell_files()
    code = subprocess.run(
        ["shellcheck", "-x", "--source-path", str(PROJECT), *files], cwd=PROJECT, check=False
    ).returncode
    print(f"shellcheck: {len(files)} files, {'clean' if code == 0 else 'findings'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
