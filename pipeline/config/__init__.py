"""What a run is told: schema, checks, identity, objectives."""
