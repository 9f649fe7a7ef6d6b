"""Runs of a view that many machines do together."""
