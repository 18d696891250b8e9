"""Serve a classifier over HTTP, within bounds of time and memory."""
