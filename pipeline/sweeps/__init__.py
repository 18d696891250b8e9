"""Run many jobs: grids, searches and their bookkeeping."""
