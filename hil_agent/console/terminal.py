"""Connects a person, or a pipe, to the guest's console."""
