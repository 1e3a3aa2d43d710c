"""Datasets, learners, scans and pages that several test modules use."""
