from counters.tasks import report, total

print(f"total: {total.delay([1, 2, 3, 4]).get(timeout=60)}")
print(f"report: {report.delay().get(timeout=60)}")
