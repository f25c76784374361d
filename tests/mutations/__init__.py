"""Small defects, one for each promise of the contract, and the tests that must catch them."""
