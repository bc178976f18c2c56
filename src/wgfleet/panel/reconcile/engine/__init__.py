"""What every reconciler runs on: a runner with one worker a key, threads for blocking work, events for people."""
