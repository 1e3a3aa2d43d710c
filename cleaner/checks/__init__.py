"""Checks: what is wrong with images whatever their label; no model needed."""
