"""OpenNebula on Kubernetes: one stack an environment. See README.md; `stacks/control_plane.py` wires the parts."""

from stacks.control_plane import ControlPlane
from stacks.settings import load

settings, secrets = load()
ControlPlane(settings, secrets).exports().publish()
