"""Make the secrets of deploy/compose.yaml, once: `python -I make_secrets.py FOLDER`. Needs to be root.

Each file belongs to the only user who reads it. Either all of them are there or none: they are made beside their place
and renamed, so a start that is stopped in between makes new ones, and no database knows the old ones yet.
"""

import base64
import os
import secrets
import shutil
import sys
from pathlib import Path

INTERLOCK, POSTGRES = 10001, 999  # the users of deploy/Dockerfile and of the image postgres


def make(folder: Path, *, interlock: int = INTERLOCK, postgres: int = POSTGRES) -> bool:
    """Make them in `folder/made`; return whether they were missing.

    Args:
        folder: A folder of root's.
        interlock: Id of the user who reads the server's.
        postgres: Id of the user who reads the database's.
    """
    made, draft = folder / "made", folder / "draft"
    if made.exists():
        return False
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o755)
    password = secrets.token_urlsafe(32)
    _write(draft / "token", secrets.token_urlsafe(32), interlock)
    _write(
        draft / "encryption-key", f"ilmaster_{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}", interlock
    )
    _write(draft / "pgpass", f"*:*:*:interlock:{password}", interlock)
    _write(draft / "database-password", password, postgres)
    draft.rename(made)
    return True


def _write(path: Path, secret: str, owner: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(f"{secret}\n")
    os.chown(path, owner, owner)


if __name__ == "__main__":
    sys.stderr.write("made secrets\n" if make(Path(sys.argv[1])) else "the secrets are there\n")
