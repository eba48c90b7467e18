"""All that makes a score too good: copies across the split, hidden groups, order in time. One door to the measurements."""

from wellfit.diagnosis.measures.hidden_groups import GroupLeak, group_codes, hidden_groups
from wellfit.diagnosis.measures.honest_split import Flattery
from wellfit.diagnosis.measures.linked_rows import cost_of_links
from wellfit.diagnosis.measures.near_copies import NearCopies, near_copies, standardized
from wellfit.diagnosis.measures.time_order import TimeOrder, ordered_columns, time_order

__all__ = ["Flattery", "GroupLeak", "NearCopies", "TimeOrder", "cost_of_links", "group_codes", "hidden_groups",
           "near_copies", "ordered_columns", "standardized", "time_order"]
