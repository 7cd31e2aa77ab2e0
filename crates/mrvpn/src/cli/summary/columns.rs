//! Lines whose parts stand below one another.

/// One line a row, each part as wide as the widest of its column; the last one ends where it ends.
pub(super) fn aligned(rows: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows.collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(part, width)| format!("{part:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_below_one_another() {
        let rows = [vec!["uk", "up", "x"], vec!["new-york", "-", "yy"]];
        let rows = rows.into_iter().map(|row| row.into_iter().map(str::to_owned).collect());
        assert_eq!(aligned(rows), ["uk        up  x", "new-york  -   yy"]);
        assert_eq!(aligned(std::iter::empty()), Vec::<String>::new());
    }
}
