"""The network: load, cut, save, export."""
