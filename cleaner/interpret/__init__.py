"""Plots and reports from a scan; nothing is scored again."""
