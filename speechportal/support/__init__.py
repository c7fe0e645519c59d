"""What support staff works with: Django admin, made for finding one thing among millions."""
