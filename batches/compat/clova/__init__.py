"""The entry for programs written for CLOVA Speech: they run against this portal by changing their URL."""
