"""Who belongs to which group of patients and images. No figures here: a filter needs no statistics."""

import numpy as np
import pandas as pd

AGES = {"under 30": (0, 30), "30 to 44": (30, 45), "45 to 59": (45, 60), "60 to 74": (60, 75), "75 and over": (75, 200)}
# degrees; Chardon, Cretois and Hourseau, Int. J. Cosmetic Science 13, 1991; Del Bino and Bernerd, Br. J. Dermatology
# 169(s3), 2013
TONES = {
    "very light": (55, 91),
    "light": (41, 55),
    "intermediate": (28, 41),
    "tan": (10, 28),
    "brown": (-30, 10),
    "dark": (-91, -30),
}
BANDS = {"age": AGES, "ita": TONES}
NAMES = {
    "sex": "sex",
    "age": "age in years",
    "localization": "body site",
    "dx_type": "how the diagnosis was confirmed",
    "ita": "skin tone around the lesion",
}


def members(table: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Column -> group -> its rows; what is unknown is in no group.

    Args:
        table: any of the columns in `NAMES`.
    """
    found = {}
    for by in NAMES:
        if by not in table:
            continue
        if by in BANDS:
            values = pd.to_numeric(table[by], errors="coerce").to_numpy(float)
            # an age begins its band, an angle ends it: over 55 degrees is very light, 55 is light
            inside = {
                name: (values >= low) & (values < high) if by == "age" else (values > low) & (values <= high)
                for name, (low, high) in BANDS[by].items()
            }
        else:
            text = table[by].fillna("").astype(str).str.strip()
            names = text[~text.isin(["", "unknown"])].value_counts().index
            inside = {str(name): (text == name).to_numpy() for name in names}
        rows_of = {name: np.flatnonzero(rows) for name, rows in inside.items() if rows.any()}
        if rows_of:
            found[by] = rows_of
    return found
