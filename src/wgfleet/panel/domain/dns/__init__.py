"""DNS as values: the addresses a name should list, its records and states, and the plan that gets it there."""
