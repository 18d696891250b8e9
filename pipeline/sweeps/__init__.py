"""Many runs: grids, searches and their bookkeeping."""
