"""Where rows and the tiny base come from."""
