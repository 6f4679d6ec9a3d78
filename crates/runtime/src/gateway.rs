//! The front of a node: listens, routes, balances, calls here or forwards.
