"""The stand-in for OpenNebula 7.4: `root/` is laid out as its packages install it, `local` runs it on this machine."""
