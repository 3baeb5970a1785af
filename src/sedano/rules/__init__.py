"""What happens next: delivery, lease, window, retry, routing, shutdown. Decisions without I/O."""
