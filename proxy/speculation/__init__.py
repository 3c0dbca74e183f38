"""What clients will ask for next, fetched before they do: bounded, measured, behind them."""
