"""Floor 2: the gateways. Their wire types stop here; inside payflow there are Money and outcomes."""
