"""Vega-Lite specifications, one file per kind of chart; colours are the page's own CSS variables."""
