"""Framework of support staff's admin: lists, search and actions that scale to millions of rows."""
