"""What every test shares: Hypothesis without a deadline, since two cores may be busy with other things."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")
