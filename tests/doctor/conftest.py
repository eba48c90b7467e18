"""The scripts of the corpus are data: pytest does not look for doctests in them."""

collect_ignore_glob = ["corpus/*"]
