"""Let every command behave alike at the terminal."""
