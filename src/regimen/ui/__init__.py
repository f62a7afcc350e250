"""The page of all runs in a browser, `regimen ui`: on top of the index and the history, with NiceGUI."""
