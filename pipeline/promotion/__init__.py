"""A candidate against the champion."""
