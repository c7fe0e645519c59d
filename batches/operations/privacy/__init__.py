"""What is kept of an account and of a person, for how long, and how it is handed over or removed."""
