"""What differs from one installation to the next."""

REDIS = "redis://localhost:6379/"
ZONE = "Asia/Shanghai"
