"""DNS names of endpoint groups: desired records, due attempts, their results, and an administrator's commands."""
