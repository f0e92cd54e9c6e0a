"""Tables that are opened in a spreadsheet, which takes text that begins like a formula for one."""

import pandas as pd

FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with an apostrophe before each text that a spreadsheet would compute: people have typed it."""

    def harmless(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value

    words = table.select_dtypes(exclude="number").columns
    return table.assign(**{str(name): table[name].map(harmless) for name in words})
