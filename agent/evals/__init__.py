"""Evaluation that cannot flatter: recorded tables, policies replayed over them, and the metrics of the field.

``policy`` is what every router and baseline must offer, ``trial`` fits and replays them on one split, ``metrics`` holds
the numbers, and ``report`` the page. Tables become arrays in ``bench.grid``.
"""
