"""Privacy: retention, export and erasure of the data of accounts and persons."""
