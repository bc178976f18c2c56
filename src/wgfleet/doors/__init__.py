"""The doors of panel and agent: few strangers at a time, short words on who was refused; calls that were cut off."""
