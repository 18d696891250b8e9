"""Tables, charts and pages that people look at."""
