"""Declare, check and identify what a run is asked to do."""
