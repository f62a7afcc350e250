"""Reports: from the results of several runs to one page with its figures, numbers and film."""
