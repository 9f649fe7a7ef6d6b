"""Checks of rows before they are written: `rows` brings them into columns, `violations` says which break a rule."""
