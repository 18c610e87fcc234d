"""The rehearsal stand-in for OpenNebula's daemons (7.4, or 6.10: see `release`): what they read, store, answer and refuse,
and machines that are no more than a process.

It speaks for itself in its log, on `-v` and in the database (`db_versioning`); over the API it gives the version it
stands for, because clients choose their behaviour by it.
"""

from typing import Final

from standin.release import current

RELEASE: Final = current()
CODE_VERSION: Final = RELEASE.code
DB_VERSION: Final = RELEASE.database
BANNER: Final = f"OpenNebula {CODE_VERSION} rehearsal stand-in"
