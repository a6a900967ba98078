"""Functions for clients that page through results, and for clients with a token."""
