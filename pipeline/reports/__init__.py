"""Show corpora, runs and comparisons: tables on the terminal, files, charts and HTML pages."""
