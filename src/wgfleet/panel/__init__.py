"""The panel: rows are the truth, services write them, reconcilers make nodes and names equal to them."""
