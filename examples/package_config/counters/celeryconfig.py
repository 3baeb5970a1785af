broker_url = "redis://:open-sesame@localhost:6379/0"
result_backend = "redis://:open-sesame@localhost:6379/0"
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
enable_utc = True
timezone = "Asia/Shanghai"
