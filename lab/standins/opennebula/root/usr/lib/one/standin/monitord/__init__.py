"""onemonitord: keeps a probe client running on every host and turns what the clients send into states and rows."""
