"""Who keeps the promise: one folder per technology."""
