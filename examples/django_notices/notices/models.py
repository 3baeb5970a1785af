from django.db import models


class Notice(models.Model):
    text = models.CharField(max_length=200)
    pinned_at = models.DateTimeField(auto_now_add=True)
