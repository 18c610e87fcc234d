#!/bin/sh
# What the engine runs for a host, in the project's directory: `sh components/preparing/run.sh STACK`. A short text for the
# state, and the same on every machine: the checkout's own interpreter, else the system's; nothing but its library.
set -eu
exec "$(command -v .venv/bin/python || command -v python3)" -ESm components.preparing ".state/prepare/$1"
