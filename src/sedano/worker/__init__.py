"""Runs tasks: supervisor, template, slots."""
