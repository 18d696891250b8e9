"""Turn files of labelled texts into tokens."""
