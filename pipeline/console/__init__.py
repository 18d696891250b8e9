"""How commands behave at the terminal."""
