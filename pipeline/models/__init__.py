"""Load, cut, save and export the network."""
