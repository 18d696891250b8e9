"""Decide whether a candidate becomes the champion, and promote it."""
