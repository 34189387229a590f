"""The embedded demo: painted woods with and without a tank, and two small networks that look for it."""
