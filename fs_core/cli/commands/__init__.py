"""The commands: a function each, in the file of its topic, which is imported when one of them is asked for."""
