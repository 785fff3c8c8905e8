"""Evaluation that cannot flatter: recorded tables, policies replayed over them, and the metrics of the field.

``grid`` is a table as arrays, ``policy`` what every router and baseline must offer, ``metrics`` the numbers.
"""
