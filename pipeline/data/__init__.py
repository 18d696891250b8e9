"""Labelled texts, from their files to tokens."""
