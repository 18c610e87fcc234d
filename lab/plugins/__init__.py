"""Rehearsal stand-ins for the official engine plugins `kubernetes` and `command`.

They serve machines where the official plugins are neither installed nor downloadable (lab/plugins/install.py decides).
They are real where it counts: a real API server, real SSH, the engine's real protocol and the official's state format.
They are not complete: what they do not support they refuse, naming it.
"""
