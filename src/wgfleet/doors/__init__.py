"""The parts that the listeners of panel and agent share: few strangers at a time, short words on who was refused."""
