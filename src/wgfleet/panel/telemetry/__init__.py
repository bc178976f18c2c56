"""What nodes report, on its way to the rows."""
