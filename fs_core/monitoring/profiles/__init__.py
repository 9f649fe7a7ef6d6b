"""Profiles: what values are like, a day at a time; days add up to a month exactly."""
