"""Stand-in for `pulumi-resource-command` 1.2.1: `remote:Command` over real SSH and `local:Command`.

The program declares `local:Command` alone (ADR 11). `remote:Command` stays: it is the official plugin's contract, and a
state from before still holds such resources, which the first run after it deletes through this plugin.

It refuses copies, assets and `local:run`.
"""

VERSION = "1.2.1"  # the official release it stands in for: the one the pinned SDK asks for
