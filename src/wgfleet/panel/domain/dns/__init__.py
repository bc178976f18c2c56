"""DNS as values: which nodes a name lists, the records it needs, and the plan that leads there."""
