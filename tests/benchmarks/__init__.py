"""Speeds and memory, side by side with fastai in one run; figures are printed, and no time is asserted."""
